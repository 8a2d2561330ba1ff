"""A compressed matrix takes the place of a layer's dense one, in a block of the walk and in a loaded model alike."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from palimpsest.compression.weights import CompressedWeight
from palimpsest.compression.weights.base import round_tokens
from palimpsest.provenance import PalimpsestError


def install(layer: nn.Module, compressed: CompressedWeight, transposed: bool = False) -> None:
    """Give `layer` the weights that `compressed` stands for, its bias, and the rounding of its inputs.

    The layer stays what it is (Linear, or Conv1D where `transposed`), so that whatever works on a dense model works on
    a compressed one. Raises PalimpsestError where the shapes differ.
    """
    weight = compressed.dense()
    weight = weight.T.contiguous() if transposed else weight
    if weight.shape != layer.weight.shape:
        raise PalimpsestError(
            f"the compressed matrix is {tuple(weight.shape)}, the layer's {tuple(layer.weight.shape)}."
        )
    frozen = layer.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=frozen)
    if compressed.bias is not None:
        bias = compressed.bias.to(layer.weight.dtype)
        layer.bias = nn.Parameter(bias if layer.bias is None else layer.bias.detach() + bias, requires_grad=frozen)
    if compressed.activation_bits is not None:
        layer.register_forward_pre_hook(RoundInputs(compressed))


class RoundInputs:
    """A forward pre-hook: the layer sees its inputs rounded as `compressed` says."""

    def __init__(self, compressed: CompressedWeight) -> None:
        self.input_scale, self.exempt = compressed.input_scale, compressed.exempt

    def __call__(self, layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor | Any, ...]:
        return round_tokens(arguments[0], self.input_scale, self.exempt), *arguments[1:]
