"""SmoothQuant: what makes inputs hard to round goes into the weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import ScaleBits, Share
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import int8_rows, scale_type
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight, Quantized
from palimpsest.levels import Format

LEAST = 1e-5  # of the largest, for a column of zeros


@method(
    "smoothquant",
    family="quantization",
    needs=("input_peaks",),
    levels=("format",),
    formats=("w8a8",),
    formula="s_j = max|x_j|^α / max|w_j|^(1−α); y = round(W diag(s)) · round(diag(s)⁻¹ x), both int8",
    cost="one pass over the weights; of the inputs only their peaks",
)
def smoothquant(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Format,
    *,
    alpha: Share = 0.5,
    scale_bits: ScaleBits = 0,
) -> CompressedWeight:
    """Even out inputs and weights channel by channel, then round both to int8 (Xiao et al., arXiv:2211.10438).

    With s_j = max|x_j|^α / max|w_j|^(1−α), W diag(s) has a symmetric grid a row, x / s one a token. In the paper s is
    folded into the norm before the layer, so that q, k and v (gate and up) share one, with max|w_j| over all of them,
    and layers without a norm before them (o, down) are not smoothed. Here each matrix has its own, stored beside it. A
    channel that was never active counts as an average one.
    """
    peaks, largest = stats.input_peaks.to(weight.dtype), weight.abs().amax(0)
    alive = peaks > 0
    peaks = torch.where(alive, peaks, peaks[alive].mean() if alive.any() else 1.0)
    largest = largest.clamp(min=LEAST * largest.max().item()) if largest.any() else torch.ones_like(largest)
    scale = peaks**alpha / largest ** (1 - alpha)
    scale = scale.to(scale_type(scale, scale_bits))
    codes, scales = int8_rows(weight * scale.to(weight.dtype), scale_bits)
    shifted = codes.to(torch.int16) + 128  # a symmetric grid's zero
    return Quantized(shifted, scales, None, bits=8).beside(input_scale=scale, activation_bits=8)
