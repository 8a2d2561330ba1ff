"""Quantization: weights become integers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.columns import sweep
from palimpsest.compression.ranges import Positive, ScaleBits
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import Grid
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Quantized, group_of_columns
from palimpsest.levels import Bits


@method("rtn", family="quantization")
def rtn(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Bits,
    *,
    symmetric: bool = False,
    mse_clipping: bool = False,
    scale_bits: ScaleBits = 0,
) -> Quantized:
    """Round each weight to the nearest point of a uniform grid (one a row, or a row's group of columns)."""
    groups = _runs(weight.shape[1], level.group)
    grid = Grid.for_weight(weight, groups, level.bits, symmetric, mse_clipping, scale_bits)
    fits = [grid.fit(weight[:, group]) for group in groups]
    codes = torch.cat([grid.round(weight[:, group], *fit) for group, fit in zip(groups, fits, strict=True)], dim=1)
    return _quantized(codes, fits, grid, level.group)


@method("gptq", family="quantization", needs=("gram",), propagate=True)
def gptq(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Bits,
    *,
    act_order: bool = False,
    static_groups: bool = False,
    symmetric: bool = False,
    mse_clipping: bool = False,
    scale_bits: ScaleBits = 0,
    damping: Positive = 0.01,
) -> Quantized:
    """Round column by column, and let the later columns make up for the error (Frantar et al., arXiv:2210.17323).

    act_order: columns with the largest inputs first; their groups are then runs of that order. static_groups: groups
    are runs of neighbours whose grids are fixed beforehand. Otherwise a group's grid is fitted to the corrected weights
    when its turn comes (the authors' code takes stale ones for groups under 128).
    """
    upper, order = stats.inverse_factor(damping, by_size=act_order)
    runs = _runs(weight.shape[1], level.group)
    static = static_groups or level.group is None
    grid = Grid.for_weight(weight, runs, level.bits, symmetric, mse_clipping, scale_bits)
    fits = [grid.fit(weight[:, run]) for run in runs] if static else []
    groups = group_of_columns(weight.shape[1], level.group)  # of the columns in their order of quantization
    groups = groups[order] if static else groups
    codes = torch.empty_like(weight)

    def begin(start: int, stop: int, columns: Tensor) -> None:
        if not static:
            fits.append(grid.fit(columns.T))

    def compress(j: int, column: Tensor) -> Tensor:
        scale, zero = fits[groups[j]]
        code = grid.round(column[:, None], scale, zero)
        codes[:, j] = code[:, 0]
        return (scale * (code - zero))[:, 0]

    sweep(weight[:, order], upper.to(weight.dtype), 128 if static else level.group, begin, compress)
    back = torch.argsort(order)
    return _quantized(codes[:, back], fits, grid, level.group, groups[back])


def _runs(columns: int, group: int | None) -> list[slice]:
    size = group or columns
    return [slice(start, start + size) for start in range(0, columns, size)]


def _quantized(
    codes: Tensor, fits: list[tuple[Tensor, Tensor]], grid: Grid, group: int | None, groups: Tensor | None = None
) -> Quantized:
    scales = torch.cat([scale for scale, _ in fits], dim=1).to(grid.scale_type)
    zeros = None if grid.symmetric else torch.cat([zero for _, zero in fits], dim=1)
    return Quantized(codes, scales, zeros, grid.bits, group, groups)
