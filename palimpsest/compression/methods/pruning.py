"""Pruning: weights become zero."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.columns import sweep
from palimpsest.compression.ranges import Positive
from palimpsest.compression.registry import method
from palimpsest.compression.selection import share_of, smallest, smallest_of_groups
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Sparse
from palimpsest.levels import NofM, Sparsity

BLOCK = 128  # columns for which SparseGPT chooses its mask at once


@method("magnitude", family="pruning")
def magnitude(weight: Float[Tensor, "out in"], stats: Statistics, level: Sparsity | NofM) -> Sparse:
    """Drop the weights with the smallest |w| of the layer (N:M: of each group)."""
    return Sparse.keep_largest(weight, score=weight.abs(), level=level, within="layer")


@method("wanda", family="pruning", needs=("input_norms",), propagate=True)
def wanda(weight: Float[Tensor, "out in"], stats: Statistics, level: Sparsity | NofM) -> Sparse:
    """Drop the weights with the smallest |w|·‖x‖ within each output row (Sun et al., arXiv:2306.11695)."""
    return Sparse.keep_largest(weight, score=weight.abs() * stats.input_norms, level=level, within="row")


@method("sparsegpt", family="pruning", needs=("gram",), propagate=True)
def sparsegpt(
    weight: Float[Tensor, "out in"], stats: Statistics, level: Sparsity | NofM, *, damping: Positive = 0.01
) -> Sparse:
    """Drop the weights whose loss the others can best make up for, and let them (Frantar & Alistarh, arXiv:2301.00774).

    The mask of 128 columns (N:M: of M) is chosen when their turn comes, by w² / U_jj² over all rows jointly. Unlike the
    authors' code, weights on inputs that were never active are the first to go but are not zeroed beyond the level.
    """
    upper, _ = stats.inverse_factor(damping)
    upper = upper.to(weight.dtype)
    importance = torch.where(stats.input_norms > 0, 1 / upper.diagonal().square(), 0)
    dropped = torch.zeros_like(weight, dtype=torch.bool)
    rows = len(weight)

    def begin(start: int, stop: int, columns: Tensor) -> None:
        score = columns.T.square() * importance[start:stop]
        if isinstance(level, NofM):
            dropped[:, start:stop] = smallest_of_groups(score, level)
        else:
            count = share_of(rows * stop, level.fraction) - share_of(rows * start, level.fraction)
            dropped[:, start:stop] = smallest(score.flatten(), count).view_as(score)

    def compress(j: int, column: Tensor) -> Tensor:
        return column.masked_fill(dropped[:, j], 0)

    result = sweep(weight, upper, level.group if isinstance(level, NofM) else BLOCK, begin, compress)
    return Sparse(result, ~dropped, level if isinstance(level, NofM) else None)
