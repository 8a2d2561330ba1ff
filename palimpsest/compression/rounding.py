"""Uniform grids: the scale and zero of a row (or of a row's group of columns), and rounding to them.

A weight w becomes the integer clamp(round(w / scale) + zero, 0, 2^bits - 1), which stands for scale · (integer - zero).
The scale is rounded to the type in which it is stored *before* it is used, so what is stored is what was evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.provenance import PalimpsestError

SHRINK, STEPS, NORM = 0.8, 100, 2.4  # GPTQ's clipping search: ranges down to 0.2 in steps of 0.01, |error|^2.4


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
        groups: list[slice],
        bits: int,
        symmetric: bool,
        clip: bool,
        scale_bits: int,
    ) -> Grid:
        """Settings for a matrix: float16 scales if asked and if all are in float16's normal range, else float32."""
        if scale_bits not in (16, 32):
            raise PalimpsestError(
                f"scale_bits is {scale_bits}; scales take 16 or 32 bits, or 0: those of the checkpoint."
            )
        exact = cls(bits, symmetric)
        scales = torch.cat([exact.fit(weight[:, group])[0] for group in groups])
        limits = torch.finfo(torch.float16)
        fits = scale_bits == 16 and scales.min() >= limits.smallest_normal and scales.max() <= limits.max
        return cls(bits, symmetric, clip, torch.float16 if fits else torch.float32)

    def fit(self, weight: Float[Tensor, "out n"]) -> tuple[Float[Tensor, "out 1"], Float[Tensor, "out 1"]]:
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

    def _grid(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        limits = torch.finfo(self.scale_type)
        scale = ((high - low) / self.top).clamp(limits.tiny, limits.max).to(self.scale_type).to(low.dtype)
        scale = torch.where(high > low, scale, 1.0)  # a row of zeros
        if self.symmetric:
            return scale, torch.full_like(scale, 2 ** (self.bits - 1))
        return scale, torch.round(-low / scale).clamp(0, self.top)

    def _error(self, weight: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        rounded = scale * (self.round(weight, scale, zero) - zero)
        return (rounded - weight).abs().pow(NORM).sum(1, keepdim=True)
