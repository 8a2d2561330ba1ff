"""What every compressed matrix has: stored tensors, a byte count, the dense matrix that it stands for."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor

INT8_TOP = 127


class CompressedWeight:
    """A matrix (out, in) in compressed form.

    A kind stores its tensors and gives back its `matrix()`. Beside it, where the method needs them:
    input_scale (in,): the input is divided by it before it meets the matrix (AWQ, SmoothQuant), so that the layer
        stands for matrix / input_scale;
    bias (out,): is added to what the layer answers, beside the layer's own bias (AFM);
    activation_bits: 8 if inputs are rounded too, each token to a symmetric grid of its own, but for the channels in
        `exempt` (W8A8, LLM.int8()).
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[CompressedWeight]]] = {}
    shape: tuple[int, int]
    dtype: torch.dtype
    input_scale: Float[Tensor, " in"] | None = None
    bias: Float[Tensor, " out"] | None = None
    activation_bits: int | None = None
    exempt: Integer[Tensor, " channels"] | None = None
    loss: float | None = None  # E‖(W - dense())x‖² on the calibration inputs, where the method knows it already

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.kind] = cls

    def beside(
        self,
        input_scale: Float[Tensor, " in"] | None = None,
        bias: Float[Tensor, " out"] | None = None,
        activation_bits: int | None = None,
    ) -> CompressedWeight:
        """This matrix, with what is to stand beside it."""
        self.input_scale, self.bias, self.activation_bits = input_scale, bias, activation_bits
        return self

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        beside = {"input_scale": self.input_scale, "bias": self.bias}
        return self._pack() | {name: tensor for name, tensor in beside.items() if tensor is not None}

    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by name."""
        return dict(self._tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tensors."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    @property
    def bits_per_weight(self) -> float:
        """8 · nbytes / (out · in)."""
        return 8 * self.nbytes / prod(self.shape)

    def surely_finite(self) -> bool:
        """Whether the stored tensors alone tell that no entry of the dense matrix is NaN or infinite."""
        return False

    def metadata(self) -> dict[str, Any]:
        """What `from_tensors` must know beside the tensors; JSON-able."""
        activation = {} if self.activation_bits is None else {"activation_bits": self.activation_bits}
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "dtype": str(self.dtype).removeprefix("torch."),
            **activation,
            **self._settings(),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> CompressedWeight:
        """The matrix whose `tensors()` and `metadata()` these are."""
        found = CompressedWeight.kinds[metadata["kind"]]._unpack(tensors, metadata)
        return found.beside(tensors.get("input_scale"), tensors.get("bias"), metadata.get("activation_bits"))

    def dense(self) -> Float[Tensor, "out in"]:
        """The matrix that the compressed layer stands for."""
        matrix = self.matrix()
        return (matrix if self.input_scale is None else matrix.float() / self.input_scale.float()).to(self.dtype)

    def prepare(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... in"]:
        """The input that `dense()` meets: `x` itself, or what is left of it after rounding."""
        if self.activation_bits is None:
            return x
        return round_tokens(x, self.input_scale, self.exempt)

    def linear(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """What the compressed layer (without the layer's own bias) answers."""
        answer = self._product(self.prepare(x))
        return answer if self.bias is None else answer + self.bias.to(x.dtype)

    def to(self, dtype: torch.dtype) -> CompressedWeight:
        """The same, with values (or the dense matrix) of another data type."""
        if dtype == self.dtype:
            return self
        bias = None if self.bias is None else self.bias.to(dtype)
        return self._to(dtype).beside(self.input_scale, bias, self.activation_bits)

    def matrix(self) -> Float[Tensor, "out in"]:
        """The stored matrix, before the input scale; in float32 where it is computed in float32."""
        raise NotImplementedError

    def achieved(self) -> dict[str, float]:
        """The level, measured on what is stored."""
        raise NotImplementedError

    def _product(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        return x @ self.dense().to(x.dtype).T

    def _to(self, dtype: torch.dtype) -> CompressedWeight:
        raise NotImplementedError

    def _pack(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> CompressedWeight:
        raise NotImplementedError


def round_tokens(
    x: Float[Tensor, "... in"], input_scale: Tensor | None = None, exempt: Integer[Tensor, " channels"] | None = None
) -> Float[Tensor, "... in"]:
    """`x` with each token rounded to the 8-bit grid of its largest value; `exempt` channels are left as they are.

    Rounding happens on x / input_scale, where the grid of the matrix is, in float32 whatever the type of `x`. The
    gradient passes as if nothing were rounded, so that adapters of earlier layers can be trained.
    """
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    scale = 1.0 if input_scale is None else input_scale.to(precise)
    scaled = precise / scale
    size = scaled.abs()
    if exempt is not None:
        size = size.index_fill(-1, exempt.to(x.device), 0)
    step = size.amax(-1, keepdim=True) / INT8_TOP
    step = torch.where(step > 0, step, 1)
    rounded = (torch.round(scaled / step).clamp(-INT8_TOP, INT8_TOP) * step * scale).to(x.dtype)
    if exempt is not None:
        rounded = rounded.index_copy(-1, exempt.to(x.device), x.index_select(-1, exempt.to(x.device)))
    return rounded.detach() + (x - x.detach()) if x.requires_grad else rounded
