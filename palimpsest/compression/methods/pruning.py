"""Pruning: weights become zero."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.columns import sweep
from palimpsest.compression.ranges import Positive, ScaleBits
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import ColumnGrids, Grid, group_in, runs_of
from palimpsest.compression.selection import share_of, smallest, smallest_of_groups
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Sparse, SparseQuantized
from palimpsest.levels import Joint, NofM, Sparsity

BLOCK = 128  # columns for which SparseGPT chooses its mask at once


@method(
    "magnitude",
    family="pruning",
    formula="drop the smallest |w_ij| of the layer",
    cost="one selection among the layer's scores; no inputs",
)
def magnitude(weight: Float[Tensor, "out in"], stats: Statistics, level: Sparsity | NofM) -> Sparse:
    """Drop the weights with the smallest |w| of the layer, or of each N:M group (Han et al., arXiv:1506.02626)."""
    return Sparse.keep_largest(weight, score=weight.abs(), level=level, within="layer")


@method(
    "wanda",
    family="pruning",
    needs=("input_norms",),
    propagate=True,
    formula="S_ij = |w_ij|·‖X_j‖; drop the smallest S of each row (cumulative: those that sum to α Σ_k S_ik)",
    cost="one selection among each row's scores; of the inputs only their norms",
)
def wanda(
    weight: Float[Tensor, "out in"], stats: Statistics, level: Sparsity | NofM, *, cumulative: bool = False
) -> Sparse:
    """Drop the weights with the smallest |w|·‖x‖ within each output row (Sun et al., arXiv:2306.11695).

    cumulative: the authors' variant, in which each row loses the weights that together carry a share α of its scores,
    so that rows may lose more or fewer. They bisect α in [0, 0.8] until the layer's sparsity is right to 1e-3; here the
    weights with the smallest cumulative shares go, which is the same to the last weight. N:M leaves no such choice.
    """
    score = weight.abs() * stats.input_norms
    if not cumulative:
        return Sparse.keep_largest(weight, score, level, within="row")
    ascending, order = score.double().sort(dim=1, stable=True)
    sums = ascending.cumsum(1)
    shares = sums / torch.where(sums[:, -1:] > 0, sums[:, -1:], 1)
    return Sparse.keep_largest(weight, torch.empty_like(shares).scatter_(1, order, shares), level, within="layer")


@method(
    "sparsegpt",
    family="pruning",
    needs=("gram",),
    levels=("sparsity", "n:m", "joint"),
    propagate=True,
    version="4",
    formula="UᵀU = (G + δI)⁻¹; drop the smallest w²/U_jj² of 128 columns; w_k -= (w_j / U_jj)·U_jk for k > j",
    cost="a Cholesky factor of the Gram matrix and its inverse (shared), then out·in²",
)
def sparsegpt(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Sparsity | NofM | Joint,
    *,
    damping: Positive = 0.01,
    symmetric: bool = False,
    mse_clipping: bool = False,
    scale_bits: ScaleBits = 0,
) -> Sparse | SparseQuantized:
    """Drop the weights whose loss the others can best make up for, and let them (Frantar & Alistarh, arXiv:2301.00774).

    The mask of 128 columns (N:M: of M) is chosen when their turn comes, by w² / U_jj² over all rows jointly. Unlike the
    authors' code, weights on inputs that were never active are the first to go but are not zeroed beyond the level.

    Joint levels ("0.5+4g128", "2:4+4"): in the same sweep the kept weights are rounded, and later columns make up for
    both. The grid of a row is fitted to all its weights, as in the authors' code; that of a group when its turn comes,
    to the kept ones where the mask is chosen by then. The mask is chosen for whole groups: about 128 columns, or a
    larger group. symmetric, mse_clipping and scale_bits are those of rtn, and for joint levels only.
    """
    pruning = level.pruning if isinstance(level, Joint) else level
    n_of_m = pruning if isinstance(pruning, NofM) else None
    factor = stats.inverse_factor(damping)
    upper = factor.upper.to(weight.dtype)
    importance = torch.where(stats.input_norms > 0, 1 / factor.diagonal.square(), 0)[:, None]
    dropped = torch.zeros(weight.T.shape, dtype=torch.bool)  # by column, as the sweep goes
    rows, lost = len(weight), {}  # the mask of the columns whose turn it is, as numbers

    def begin(start: int, stop: int, columns: Tensor) -> None:
        score = columns.square().mul_(importance[start:stop])
        if n_of_m:
            dropped[start:stop] = smallest_of_groups(score.T, n_of_m).T
        else:
            count = share_of(rows * stop, pruning.fraction) - share_of(rows * start, pruning.fraction)
            dropped[start:stop] = smallest(score.T.flatten(), count).view_as(score.T).T
        lost.update(zip(range(start, stop), dropped[start:stop].to(weight.dtype), strict=True))

    def compress(j: int, column: Tensor, error: Tensor) -> None:
        column.sub_(torch.mul(column, lost.pop(j), out=error))

    if not isinstance(level, Joint):
        swept = sweep(weight, upper, [(n_of_m.group if n_of_m else BLOCK, begin)], compress)
        sparse = Sparse(swept.matrix.contiguous(), ~dropped.T.contiguous(), n_of_m)
        sparse.loss = factor.loss(swept)
        return sparse

    group = group_in(weight.shape[1], level.quantization, stats)
    runs = runs_of(weight.shape[1], group)
    grid = Grid.for_weight(weight, runs, level.quantization.bits, symmetric, mse_clipping, scale_bits)
    grids = ColumnGrids(grid, weight, group, False, factor.order)

    def fit(start: int, stop: int, columns: Tensor) -> None:
        grids.begin(start, stop, columns.masked_fill(dropped[start:stop], 0))

    def compress_and_round(j: int, column: Tensor, error: Tensor) -> None:
        rounded = grids.round(j, column).mul_(1 - lost.pop(j))
        torch.sub(column, rounded, out=error)
        column.copy_(rounded)

    whole_groups = BLOCK if group is None or group % BLOCK == 0 else group * max(1, BLOCK // group)
    begins = [(n_of_m.group if n_of_m else whole_groups, begin)] + ([] if group is None else [(group, fit)])
    swept = sweep(weight, upper, sorted(begins, key=lambda pair: -pair[0]), compress_and_round)
    both = SparseQuantized(grids.quantized(), ~dropped.T.contiguous(), n_of_m)
    both.loss = factor.loss(swept)
    return both
