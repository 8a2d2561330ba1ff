"""Uniform grids: the scale and zero of a row (or of a row's group of columns), and rounding to them.

A weight w becomes the integer clamp(round(w / scale) + zero, 0, 2^bits - 1), which stands for scale · (integer - zero).
The scale is rounded to the type in which it is stored *before* it is used, so what is stored is what was evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Quantized, group_of_columns
from palimpsest.compression.weights.base import INT8_TOP
from palimpsest.levels import Bits
from palimpsest.provenance import PalimpsestError

SHRINK, STEPS, NORM = 0.8, 100, 2.4  # GPTQ's clipping search: ranges down to 0.2 in steps of 0.01, |error|^2.4

Fit = tuple[Float[Tensor, "out 1"], Float[Tensor, "out 1"]]  # scale and zero of each row


def scale_type(scales: Float[Tensor, ...], scale_bits: int) -> torch.dtype:
    """How scales are stored: float16 if asked and if all are in float16's normal range, else float32."""
    if scale_bits not in (16, 32):
        raise PalimpsestError(f"scale_bits is {scale_bits}; scales take 16 or 32 bits, or 0: those of the checkpoint.")
    limits = torch.finfo(torch.float16)
    small = scale_bits == 16 and scales.min() >= limits.smallest_normal and scales.max() <= limits.max
    return torch.float16 if small else torch.float32


def group_in(columns: int, level: Bits, stats: Statistics) -> int | None:
    """The size of a level's groups in a matrix of so many columns; None for one grid a row.

    A group that is larger than the row is the row; the record then says what was asked ("group_asked").
    """
    if level.group is None or level.group < columns:
        return level.group
    if level.group > columns:
        stats.record["group_asked"] = level.group
    return None


def runs_of(columns: int, group: int | None) -> list[slice]:
    """The columns of each group of neighbours; the last group may be smaller."""
    size = group or columns
    return [slice(start, start + size) for start in range(0, columns, size)]


def int8_rows(
    weight: Float[Tensor, "out in"], scale_bits: int
) -> tuple[Integer[Tensor, "out in"], Float[Tensor, "out 1"]]:
    """Vector-wise int8: integers from -127 to 127, and the scale of each row, its largest |w| / 127."""
    largest = weight.abs().amax(1, keepdim=True) if weight.shape[1] else weight.new_zeros(len(weight), 1)
    scale = torch.where(largest > 0, largest / INT8_TOP, 1.0).clamp(min=torch.finfo(torch.float32).tiny)
    scale = scale.to(scale_type(scale, scale_bits))
    codes = torch.round(weight / scale.to(weight.dtype)).clamp(-INT8_TOP, INT8_TOP)
    return codes.to(torch.int8), scale


@dataclass(frozen=True)
class Grid:
    """How grids are fitted. `scale_type` is what `for_weight` chose."""

    bits: int
    symmetric: bool = False
    clip: bool = False
    scale_type: torch.dtype = torch.float32

    @property
    def top(self) -> int:
        return 2**self.bits - 1

    @classmethod
    def for_weight(
        cls,
        weight: Float[Tensor, "out in"],
        runs: list[slice],
        bits: int,
        symmetric: bool,
        clip: bool,
        scale_bits: int,
    ) -> Grid:
        """Settings for a matrix; the type of the scales is that of the unclipped grids' (`scale_type`)."""
        exact = cls(bits, symmetric)
        scales = torch.cat([exact.fit(weight[:, run])[0] for run in runs])
        return cls(bits, symmetric, clip, scale_type(scales, scale_bits))

    def fit(self, weight: Float[Tensor, "out n"]) -> Fit:
        """Scale and zero of each row, from its smallest and largest value; 0 is always on the grid."""
        low, high = weight.amin(1, keepdim=True).clamp(max=0), weight.amax(1, keepdim=True).clamp(min=0)
        if self.symmetric:
            high = torch.maximum(high, -low)
            low = -high
        best = self._grid(low, high)
        if not self.clip:
            return best
        least = self._error(weight, *best)
        for step in range(1, int(SHRINK * STEPS)):
            grid = self._grid(low * (1 - step / STEPS), high * (1 - step / STEPS))
            error = self._error(weight, *grid)
            better = error < least
            least = torch.where(better, error, least)
            best = tuple(torch.where(better, new, old) for new, old in zip(grid, best, strict=True))
        return best

    def round(self, weight: Float[Tensor, "out n"], scale: Tensor, zero: Tensor) -> Float[Tensor, "out n"]:
        """The integers, as floats."""
        return (torch.round(weight / scale) + zero).clamp(0, self.top)

    def nearest(self, weight: Float[Tensor, "out n"], scale: Tensor, zero: Tensor) -> Float[Tensor, "out n"]:
        """The values of the grid."""
        return scale * (self.round(weight, scale, zero) - zero)

    def parts(self, fits: Sequence[Fit]) -> tuple[Float[Tensor, "out groups"], Integer[Tensor, "out groups"] | None]:
        """Scales and zeros as they are stored."""
        scales = torch.cat([scale for scale, _ in fits], dim=1).to(self.scale_type)
        return scales, None if self.symmetric else torch.cat([zero for _, zero in fits], dim=1).to(torch.uint8)

    def quantized(self, weight: Float[Tensor, "out in"], runs: list[slice], fits: Sequence[Fit]) -> Quantized:
        """The matrix rounded to the grids of its groups."""
        codes = [self.round(weight[:, run], *fit) for run, fit in zip(runs, fits, strict=True)]
        group = None if len(runs) == 1 else runs[0].stop
        return Quantized(torch.cat(codes, dim=1), *self.parts(fits), self.bits, group)

    def _grid(self, low: Tensor, high: Tensor) -> Fit:
        limits = torch.finfo(self.scale_type)
        scale = ((high - low) / self.top).clamp(limits.tiny, limits.max).to(self.scale_type).to(low.dtype)
        scale = torch.where(high > low, scale, 1.0)  # a row of zeros
        if self.symmetric:
            return scale, torch.full_like(scale, 2 ** (self.bits - 1))
        return scale, torch.round(-low / scale).clamp(0, self.top)

    def _error(self, weight: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        return (self.nearest(weight, scale, zero) - weight).abs().pow(NORM).sum(1, keepdim=True)


class ColumnGrids:
    """The grids that a sweep over columns rounds to, column by column, and the integers that it leaves.

    static: the grids of neighbours' groups are fitted to `weight` beforehand, and `order` says which column of it is
    swept when. Otherwise a group is a run of the swept columns, whose grid is fitted when its turn comes (`begins`).
    """

    def __init__(
        self,
        grid: Grid,
        weight: Float[Tensor, "out in"],
        group: int | None,
        static: bool,
        order: Integer[Tensor, " in"],
    ) -> None:
        columns = weight.shape[1]
        runs = group_of_columns(columns, group)
        fixed = static or group is None
        self.grid, self.group, self.order = grid, group, order
        self.groups = runs[order] if fixed else runs
        self.fits = [grid.fit(weight[:, run]) for run in runs_of(columns, group)] if fixed else []
        self.begins = [] if fixed else [(group, self.begin)]
        self.codes = torch.empty(weight.T.shape, dtype=torch.uint8)  # by column: each is written at once

    def begin(self, start: int, stop: int, columns: Float[Tensor, "columns out"]) -> None:
        """Fit the grid of the group whose turn has come."""
        self.fits.append(self.grid.fit(columns.T))

    def round(self, j: int, column: Float[Tensor, " out"]) -> Float[Tensor, " out"]:
        """The j-th swept column on its grid."""
        scale, zero = self.fits[self.groups[j]]
        code = self.grid.round(column[:, None], scale, zero)
        self.codes[j] = code[:, 0]
        return (scale * (code - zero))[:, 0]

    def quantized(self) -> Quantized:
        """The swept matrix, its columns in their places again."""
        back = torch.argsort(self.order)
        return Quantized(self.codes[back].T, *self.grid.parts(self.fits), self.grid.bits, self.group, self.groups[back])
