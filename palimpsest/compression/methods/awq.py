"""AWQ: the weights that meet large inputs are rounded on a finer grid."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import ScaleBits
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import Fit, Grid, group_in, runs_of, scale_type
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight
from palimpsest.levels import Bits

EXPONENTS = 20  # a = 0, 1/20, …, 19/20
SHRINKS = 10  # ranges of 1, 0.95, …, 0.55 of the largest |w|
LEAST = 1e-4  # the smallest scale of an average channel's


@method(
    "awq",
    family="quantization",
    needs=("gram", "input_magnitudes"),
    formula="s = E|x|ᵃ / √(max s · min s); W′ = round(W diag(s)) diag(s)⁻¹; a = argmin tr(E G Eᵀ), E = W − W′",
    cost="20 roundings and 20 products (out × in)·(in × in); 10 of (out × in)·(in × group) for clipping",
)
def awq(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Bits,
    *,
    clipping: bool = True,
    symmetric: bool = False,
    scale_bits: ScaleBits = 0,
) -> CompressedWeight:
    """Scale input channels by their mean magnitude to a power before rounding (Lin et al., arXiv:2306.00978).

    The exponent is chosen from 0, 0.05, …, 0.95 by the error of the matrix's own output on all calibration tokens,
    through their second moments G. Then each row's group is clipped at 1, 0.95, …, 0.55 of its largest |w|, by its own
    part of that error. In the authors' code the exponent is chosen by the output error of the whole block for matrices
    that share an input together, the scale is folded into the operation before, q and k are not clipped, and clipping
    looks at 512 tokens; here each matrix has its own scale, stored beside it. A channel that was never active counts as
    an average one.
    """
    group = group_in(weight.shape[1], level, stats)
    runs = runs_of(weight.shape[1], group)
    gram = stats.gram.to(weight.dtype)
    magnitudes = _magnitudes(stats).to(weight.dtype)

    least = None
    for step in range(EXPONENTS):
        scale = _input_scale(magnitudes, step / EXPONENTS, scale_bits)
        scaled = weight * scale.to(weight.dtype)
        grid = Grid.for_weight(scaled, runs, level.bits, symmetric, False, scale_bits)
        fits = [grid.fit(scaled[:, run]) for run in runs]
        rounded = torch.cat([grid.nearest(scaled[:, run], *fit) for run, fit in zip(runs, fits, strict=True)], dim=1)
        error = (scaled - rounded) / scale.to(weight.dtype)
        loss = ((error @ gram) * error).double().sum().item()
        if least is None or loss < least:
            least, best = loss, (scale, grid, fits)

    scale, grid, fits = best
    scaled, precise = weight * scale.to(weight.dtype), scale.to(weight.dtype)
    if clipping:
        fits = [
            _clipped(grid, scaled[:, run], fit, gram[run, run] / precise[run] / precise[run, None])  # moments of x / s
            for run, fit in zip(runs, fits, strict=True)
        ]
    return grid.quantized(scaled, runs, fits).beside(input_scale=scale)


def _magnitudes(stats: Statistics) -> Float[Tensor, " in"]:
    """E|x_j| in units of the average channel's."""
    magnitudes = stats.input_magnitudes
    alive = magnitudes > 0
    return torch.where(alive, magnitudes / magnitudes[alive].mean(), 1) if alive.any() else torch.ones_like(magnitudes)


def _input_scale(magnitudes: Float[Tensor, " in"], exponent: float, scale_bits: int) -> Float[Tensor, " in"]:
    scale = magnitudes.pow(exponent).clamp(min=LEAST)
    scale = scale / (scale.max() * scale.min()).sqrt()
    return scale.to(scale_type(scale, scale_bits))


def _clipped(grid: Grid, weight: Float[Tensor, "out n"], fit: Fit, moments: Float[Tensor, "n n"]) -> Fit:
    """The grid of each row whose output error on inputs with these second moments is smallest."""

    def loss(fit: Fit) -> Float[Tensor, "out 1"]:
        error = grid.nearest(weight, *fit) - weight
        return ((error @ moments) * error).sum(1, keepdim=True)

    largest, least = weight.abs().amax(1, keepdim=True), loss(fit)
    for step in range(1, SHRINKS):
        limit = largest * (1 - step / EXPONENTS)
        shrunk = grid.fit(torch.minimum(torch.maximum(weight, -limit), limit))
        found = loss(shrunk)
        fit = tuple(torch.where(found < least, new, old) for new, old in zip(shrunk, fit, strict=True))
        least = torch.minimum(found, least)
    return fit
