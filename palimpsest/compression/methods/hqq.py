"""HQQ: zero points that lessen a robust norm of the error, from the weights alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import Count, Positive, ScaleBits, Share
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import group_in, runs_of, scale_type
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Quantized
from palimpsest.levels import Bits


@method(
    "hqq",
    family="quantization",
    formula="q = round(w / s + z); e = shrink(w − s (q − z)), shrink(x) = sign(x)·max(|x| − |x|ᵖ⁻¹ / β, 0); "
    "z = mean(q − (w − e) / s); β ← κβ",
    cost="20 passes over the weights; no inputs",
)
def hqq(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Bits,
    *,
    norm: Share = 0.7,
    beta: Positive = 10.0,
    kappa: Positive = 1.01,
    iterations: Count = 20,
    scale_bits: ScaleBits = 0,
) -> Quantized:
    """Choose zero points by half-quadratic splitting of Σ|w − w′|^0.7, without inputs (Badri & Shaji, HQQ, 2023).

    Scales are those of min and max; zero points are no integers and are stored as precisely as the scales. norm is the
    p of the ℓ_p norm; beta and kappa are the weight of the quadratic term and its growth. Of the iterates each group
    keeps the one with the smallest Σ|w − w′|ᵖ (the authors' code stops the whole matrix when its mean |w − w′| falls no
    more). With weights as small as a language model's and beta = 10, shrink answers 0, and a step is the least-squares
    choice of the zero points.
    """
    runs = runs_of(weight.shape[1], group_in(weight.shape[1], level, stats))
    scales = torch.cat([_scale(weight[:, run], level.bits) for run in runs], dim=1)
    stored = scale_type(scales, scale_bits)
    scales = scales.to(stored)
    fitted = [
        _fit(weight[:, run], scale, level.bits, norm, beta, kappa, iterations, stored)
        for run, scale in zip(runs, scales.to(weight.dtype).split(1, dim=1), strict=True)
    ]
    codes, zeros = (torch.cat(parts, dim=1) for parts in zip(*fitted, strict=True))
    return Quantized(codes, scales, zeros.to(stored), level.bits, None if len(runs) == 1 else level.group)


def _scale(weight: Float[Tensor, "out n"], bits: int) -> Float[Tensor, "out 1"]:
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    width = torch.where(high > low, high - low, high.abs())  # equal weights lie between themselves and 0
    scale = (width / (2**bits - 1)).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(width > 0, scale, 1.0)


def _fit(
    weight: Float[Tensor, "out n"],
    scale: Float[Tensor, "out 1"],
    bits: int,
    norm: float,
    beta: float,
    kappa: float,
    iterations: int,
    stored: torch.dtype,
) -> tuple[Float[Tensor, "out n"], Float[Tensor, "out 1"]]:
    """The integers and zero points of one group of each row."""
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    zero = -torch.where(high > low, low, low.clamp(max=0)) / scale
    best = None
    for iteration in range(iterations + 1):
        # What is stored is what is compared.
        zero = zero.clamp(-torch.finfo(stored).max, torch.finfo(stored).max).to(stored).to(weight.dtype)
        codes = torch.round(weight / scale + zero).clamp(0, 2**bits - 1)
        error = weight - scale * (codes - zero)
        loss = error.abs().pow(norm).sum(1, keepdim=True)
        if best is None:
            best = codes, zero, loss
        else:
            found = zip((codes, zero, loss), best, strict=True)
            best = tuple(torch.where(loss < best[2], new, old) for new, old in found)
        noise = _shrink(error, norm, beta * kappa**iteration)
        zero = (codes - (weight - noise) / scale).mean(1, keepdim=True)
    return best[:2]


def _shrink(x: Float[Tensor, "out n"], norm: float, beta: float) -> Float[Tensor, "out n"]:
    """The proximal operator of |x|^p / β, as generalized soft-thresholding has it."""
    size = x.abs()
    return x.sign() * (size - size.clamp(min=torch.finfo(x.dtype).tiny).pow(norm - 1) / beta).clamp(min=0)
