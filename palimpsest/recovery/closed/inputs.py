"""The inputs of a layer in a model that is not the dense one, and what the layer should make of them."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from palimpsest.compression.blocks import BlockRunner
from palimpsest.compression.statistics import Statistics


class PairedStatistics(Statistics):
    """Statistics of the inputs x′ of a layer, with E[x x′ᵀ] for the inputs x that the dense model has there."""

    def __init__(self, width: int, name: str, needs: Collection[str]) -> None:
        super().__init__(width, name, {*needs, "gram"})
        self._cross = torch.zeros(width, width)
        self._dense = _Kept()

    @property
    def cross(self) -> Float[Tensor, "in in"]:
        """E[x x′ᵀ], float64."""
        return self._cross.double() / self.tokens

    @property
    def of_dense(self) -> _Kept:
        """Takes the inputs x of one batch; `add` then takes x′ of the same tokens."""
        return self._dense

    def add(self, inputs: Float[Tensor, "... in"], valid: Bool[Tensor, "rows length"] | None = None) -> None:
        super().add(inputs, valid)
        self._cross.addmm_(self._dense.tokens.T, _tokens(inputs, valid))


class _Kept:
    """Stands in for Statistics where one batch is only to be kept."""

    tokens: Tensor

    def add(self, inputs: Tensor, valid: Tensor | None = None) -> None:
        self.tokens = _tokens(inputs, valid)


def _tokens(inputs: Tensor, valid: Tensor | None) -> Float[Tensor, "tokens in"]:
    tokens = inputs.reshape(-1, inputs.shape[-1]).float()
    return tokens if valid is None else tokens[valid.flatten()]


def pair(
    number: int,
    dense: tuple[BlockRunner, nn.Module],
    own: tuple[BlockRunner, nn.Module],
    layer: str,
    into: PairedStatistics,
) -> None:
    """Add the inputs that `layer` of block `number` has in either model, batch by batch; both stay where they are."""
    for batch in dense[0].batches:
        dense[0].run(number, dense[1], {layer: into.of_dense}, advance=False, only=batch)
        own[0].run(number, own[1], {layer: into}, advance=False, only=batch)


def target(
    weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, stats: Statistics, damping: float
) -> Float[Tensor, "out in"]:
    """The matrix T that should stand in a layer whose inputs are x′ where the dense model's are x.

    T = argmin E‖W x − b − T x′‖² + δ‖W − T‖² = (W (E[x x′ᵀ] + δI) − b E[x′]ᵀ) (E[x′x′ᵀ] + δI)⁻¹, with δ `damping` times
    the mean diagonal of E[x′x′ᵀ], and b the bias that the cell adds to what the dense layer has. Without a bias and on
    the dense model's own inputs that is W.
    """
    paired = isinstance(stats, PairedStatistics)
    if not paired and bias is None:
        return weight
    factor = stats.shared(("factor", damping), lambda: torch.linalg.cholesky(stats.damped_gram(damping)))
    change = torch.zeros(weight.shape, dtype=torch.float64)
    if paired:
        change += weight.double() @ (stats.cross - stats.gram.double())
    if bias is not None:
        change -= torch.outer(bias.double(), stats.input_means.double())
    precise = torch.promote_types(weight.dtype, torch.float32)
    return (weight.double() + torch.cholesky_solve(change.T, factor).T).to(precise)
