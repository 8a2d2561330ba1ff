"""Quantization to uniform grids: weights become integers, each by itself (rtn) or with error feedback (gptq)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.columns import sweep
from palimpsest.compression.ranges import Positive, ScaleBits
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import ColumnGrids, Grid, group_in, runs_of
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Quantized
from palimpsest.levels import Bits


@method(
    "rtn",
    family="quantization",
    formula="s = (max w − min w) / (2ᵇ − 1), z = round(−min w / s); w′ = s · (clamp(round(w / s) + z, 0, 2ᵇ − 1) − z)",
    cost="one pass over the weights; 80 with mse_clipping; no inputs",
)
def rtn(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Bits,
    *,
    symmetric: bool = False,
    mse_clipping: bool = False,
    scale_bits: ScaleBits = 0,
) -> Quantized:
    """Round each weight to the nearest point of a uniform grid (one a row, or a row's group of columns).

    0 is always a point of the grid. symmetric: the grid reaches as far on both sides and stores no zero.
    mse_clipping: the range is shrunk, to 0.2 of itself at most, to where Σ|w − w′|^2.4 is smallest. scale_bits: for 16,
    float32 is taken where a scale is outside float16's normal range.
    """
    runs = runs_of(weight.shape[1], group_in(weight.shape[1], level, stats))
    grid = Grid.for_weight(weight, runs, level.bits, symmetric, mse_clipping, scale_bits)
    return grid.quantized(weight, runs, [grid.fit(weight[:, run]) for run in runs])


@method(
    "gptq",
    family="quantization",
    needs=("gram",),
    propagate=True,
    version="4",
    formula="UᵀU = (G + δI)⁻¹; for j = 1, 2, …: w′_j = round(w_j), w_k −= ((w_j − w′_j) / U_jj) · U_jk for k > j",
    cost="a Cholesky factor of the Gram matrix and its inverse (shared), then out·in²",
)
def gptq(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Bits,
    *,
    act_order: bool = False,
    static_groups: bool = False,
    true_sequential: bool = False,
    symmetric: bool = False,
    mse_clipping: bool = False,
    scale_bits: ScaleBits = 0,
    damping: Positive = 0.01,
) -> Quantized:
    """Round column by column, and let the later columns make up for the error (Frantar et al., arXiv:2210.17323).

    act_order: columns with the largest inputs first; their groups are then runs of that order. static_groups: groups
    are runs of neighbours whose grids are fixed beforehand. Otherwise a group's grid is fitted to the corrected weights
    when its turn comes (the authors' code takes stale ones for groups under 128). true_sequential: within a block, the
    matrices that share an input (q, k, v; o; gate, up; down) are quantized after each other, each on inputs from behind
    the quantized ones before it; for a single matrix it changes nothing. Grids are those of rtn.
    """
    factor = stats.inverse_factor(damping, by_size=act_order)
    group = group_in(weight.shape[1], level, stats)
    grid = Grid.for_weight(weight, runs_of(weight.shape[1], group), level.bits, symmetric, mse_clipping, scale_bits)
    grids = ColumnGrids(grid, weight, group, static_groups, factor.order)

    def compress(j: int, column: Tensor, error: Tensor) -> None:
        rounded = grids.round(j, column)
        torch.sub(column, rounded, out=error)
        column.copy_(rounded)

    ordered = weight[:, factor.order] if act_order else weight
    swept = sweep(ordered, factor.upper.to(weight.dtype), grids.begins, compress)
    quantized = grids.quantized()
    quantized.loss = factor.loss(swept)
    return quantized
