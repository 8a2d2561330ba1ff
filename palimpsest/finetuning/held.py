"""Compressed matrices that are trained in the form that compression gave them.

Pruned values stay on their mask, two factors at their rank; of integers the codes stay and the scales are trained, of
other grids (NF4, LLM.int8()) nothing is. A matrix that was left dense is trained whole.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from palimpsest.compression.install import install
from palimpsest.compression.weights import (
    CompressedWeight,
    LowRank,
    Quantized,
    Sliced,
    Sparse,
    SparseQuantized,
    Whole,
)
from palimpsest.loading import TwoFactors

Release = Callable[[], CompressedWeight]  # gives back the matrix in its form, as it is by then


def hold(model: nn.Module, path: str, compressed: CompressedWeight | None, scales: bool = True) -> Release:
    """Put `compressed` into the layer at `path`, to be trained in its form; None for one that was left dense.

    What the compression added to the layer's bias becomes part of that bias, which is trained with the others.
    scales: whether those of integers are trained.
    """
    layer = model.get_submodule(path)
    if compressed is None:
        return lambda: Whole(layer.weight.detach().clone())
    if isinstance(compressed, LowRank):
        return _factors(model, path, compressed)
    install(layer, compressed)
    if isinstance(compressed, Quantized | SparseQuantized) and scales:
        return _scales(layer, compressed)
    if isinstance(compressed, Sparse):
        return _values(layer, compressed.kept, lambda weight: Sparse(weight, compressed.kept, compressed.n_of_m))
    if isinstance(compressed, Sliced):
        kept = torch.outer(compressed.kept_rows, compressed.kept_columns)
        return _values(layer, kept, lambda weight: _sliced(weight, compressed))
    layer.weight.requires_grad_(False)
    return lambda: _without_bias(compressed)


def _factors(model: nn.Module, path: str, factors: LowRank) -> Release:
    layer = TwoFactors(factors.to(torch.float32), model.get_submodule(path).bias).requires_grad_(True)
    model.set_submodule(path, layer)
    return lambda: LowRank(layer.left.weight.detach().clone(), layer.right.weight.detach().clone())


def _values(layer: nn.Module, kept: Bool[Tensor, "out in"], make: Callable[[Tensor], CompressedWeight]) -> Release:
    # Without a gradient AdamW does not move what is zero.
    layer.weight.register_hook(lambda gradient: gradient * kept)
    return lambda: make(layer.weight.detach().clone())


def _sliced(weight: Float[Tensor, "out in"], like: Sliced) -> Sliced:
    return Sliced(weight[like.kept_rows][:, like.kept_columns], like.kept_rows, like.kept_columns)


def _scales(layer: nn.Module, compressed: Quantized | SparseQuantized) -> Release:
    compressed = _without_bias(compressed)
    parametrize.register_parametrization(layer, "weight", _Scales(compressed), unsafe=True)
    trained = layer.parametrizations.weight.original
    return lambda: _with_scales(compressed, trained.detach().clone().to(_grid(compressed).scales.dtype))


class _Scales(nn.Module):
    """A layer's weight as a function of the scales of its grid."""

    def __init__(self, compressed: Quantized | SparseQuantized) -> None:
        super().__init__()
        self.compressed = compressed

    def forward(self, scales: Float[Tensor, "out groups"]) -> Float[Tensor, "out in"]:
        return _with_scales(self.compressed, scales).dense().float()

    def right_inverse(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out groups"]:
        return _grid(self.compressed).scales.float().clone()


def _grid(compressed: Quantized | SparseQuantized) -> Quantized:
    return compressed.quantized if isinstance(compressed, SparseQuantized) else compressed


def _with_scales(compressed: Quantized | SparseQuantized, scales: Float[Tensor, "out groups"]) -> CompressedWeight:
    old = _grid(compressed)
    new = Quantized(old.codes, scales, old.zeros, old.bits, old.group, None if old.runs else old.groups, old.dtype)
    new = SparseQuantized(new, compressed.kept, compressed.n_of_m) if compressed is not old else new
    return new.beside(compressed.input_scale, None, compressed.activation_bits)


def _without_bias(compressed: CompressedWeight) -> CompressedWeight:
    tensors = {name: tensor for name, tensor in compressed.tensors().items() if name != "bias"}
    return CompressedWeight.from_tensors(tensors, compressed.metadata())
