"""Numbers of a fixed table and scales that are quantized themselves: what NF4 leaves."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from palimpsest.compression.packing import index_width, pack, unpack
from palimpsest.compression.weights.base import INT8_TOP, CompressedWeight
from palimpsest.compression.weights.quantized import group_of_columns

OFFSET = 0.9677083  # QLoRA's: the probability at which the outermost quantile is taken
SCALES_BLOCK = 256  # scales that are quantized together


def normal_float(positive: int = 8, negative: int = 7) -> tuple[float, ...]:
    """Quantiles of N(0, 1) at evenly spaced probabilities between 1/2 and OFFSET on either side of an exact 0, over the
    largest one. With 8 and 7 of them, NF4:

        -1       -0.69619 -0.52507 -0.39492 -0.28444 -0.18477 -0.09105  0
         0.07958  0.16093  0.24611  0.33792  0.44071  0.56262  0.72296  1
    """
    quantile = NormalDist().inv_cdf

    def side(count: int) -> list[float]:
        return [quantile(0.5 + (OFFSET - 0.5) * step / count) for step in range(1, count + 1)]

    top = quantile(OFFSET)
    return (*(-value / top for value in reversed(side(negative))), 0.0, *(value / top for value in side(positive)))


CODEBOOKS = {"nf4": normal_float()}


class Codebook(CompressedWeight):
    """weight = scale · codebook[code], one scale for each block of neighbours in a row (the last may be shorter).

    The scales are themselves quantized ("double quantization"): mean + step · integer, one mean for the matrix, one
    float32 step for every 256 scales (row by row), integers from -127 to 127.
    """

    kind = "codebook"

    def __init__(
        self,
        codes: Integer[Tensor, "out in"],
        scales: Integer[Tensor, " scales"],
        steps: Float[Tensor, " blocks"],
        mean: Float[Tensor, " one"],
        codebook: str,
        block: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.codes, self.scales, self.steps, self.mean = codes.to(torch.uint8), scales, steps, mean
        self.codebook, self.block, self.dtype, self.shape = codebook, block, dtype, tuple(codes.shape)

    @classmethod
    def nearest(cls, weight: Float[Tensor, "out in"], codebook: str, block: int) -> Codebook:
        """Each weight as the nearest number of its block, whose scale is its largest |w|, quantized."""
        values, columns = torch.tensor(CODEBOOKS[codebook]), weight.shape[1]
        largest = torch.cat([part.abs().amax(1, keepdim=True) for part in weight.split(block, dim=1)], dim=1)
        stored = quantize_scales(largest.flatten())
        scales = dequantize_scales(*stored).view_as(largest)[:, group_of_columns(columns, block)]
        scaled = weight / torch.where(scales > 0, scales, float("inf"))
        codes = torch.bucketize(scaled, ((values[1:] + values[:-1]) / 2).to(weight.dtype))
        return cls(codes, *stored, codebook, block)

    def matrix(self) -> Float[Tensor, "out in"]:
        groups = group_of_columns(self.shape[1], self.block)
        scales = dequantize_scales(self.scales, self.steps, self.mean).view(self.shape[0], -1)
        return torch.tensor(CODEBOOKS[self.codebook])[self.codes.long()] * scales[:, groups]

    def achieved(self) -> dict[str, float]:
        return {"bits": self._width}

    @property
    def _width(self) -> int:
        return index_width(len(CODEBOOKS[self.codebook]))

    def _to(self, dtype: torch.dtype) -> Codebook:
        return Codebook(self.codes, self.scales, self.steps, self.mean, self.codebook, self.block, dtype)

    def _pack(self) -> dict[str, Tensor]:
        codes = pack(self.codes, self._width)
        return {"codes": codes, "scales": self.scales, "steps": self.steps, "mean": self.mean}

    def _settings(self) -> dict[str, Any]:
        return {"codebook": self.codebook, "block": self.block}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Codebook:
        (rows, columns), name = metadata["shape"], metadata["codebook"]
        codes = unpack(tensors["codes"], index_width(len(CODEBOOKS[name])), rows * columns).view(rows, columns)
        parts = (tensors[part] for part in ("scales", "steps", "mean"))
        return cls(codes, *parts, name, metadata["block"], getattr(torch, metadata["dtype"]))


def quantize_scales(scales: Float[Tensor, " scales"]) -> tuple[Tensor, Tensor, Tensor]:
    """Integers, steps and mean of `dequantize_scales`: symmetric 8-bit grids around the mean of all scales."""
    mean = scales.double().mean().float().view(1)
    parts = (scales.float() - mean).split(SCALES_BLOCK)
    steps = torch.stack([part.abs().amax() / INT8_TOP for part in parts])
    safe = torch.where(steps > 0, steps, 1)
    integers = [torch.round(part / step).clamp(-INT8_TOP, INT8_TOP) for part, step in zip(parts, safe, strict=True)]
    return torch.cat(integers).to(torch.int8), steps, mean


def dequantize_scales(
    integers: Integer[Tensor, " scales"], steps: Float[Tensor, " blocks"], mean: Float[Tensor, " one"]
) -> Float[Tensor, " scales"]:
    """mean + step · integer, and 0 where that is negative."""
    return (mean + steps.repeat_interleave(SCALES_BLOCK)[: len(integers)] * integers.float()).clamp(min=0)
