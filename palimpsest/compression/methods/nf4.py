"""NF4: numbers that are equally likely if weights are normal."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Codebook
from palimpsest.levels import Format

BLOCK = 64


@method(
    "nf4",
    family="quantization",
    levels=("format",),
    formats=("nf4",),
    formula="q_i = Φ⁻¹(p_i) / Φ⁻¹(0.9677083), 16 levels with an exact 0; w′ = a · q nearest to w, a = max |w| of 64",
    cost="one pass over the weights; no inputs",
)
def nf4(weight: Float[Tensor, "out in"], stats: Statistics, level: Format) -> Codebook:
    """Round to 16 quantiles of a normal distribution, scaled by block (QLoRA: Dettmers et al., arXiv:2305.14314).

    Blocks are 64 neighbours of a row, the last of a row may be shorter (the authors' code runs on from row to row); the
    scale of a block is its largest |w|. The scales are quantized too, to 8 bits, 256 together, around their mean
    ("double quantization"): 8/64 + 32/(64·256) = 0.127 bits a weight. Unlike the authors' code, which takes a table of
    8-bit floats for that, they lie on a uniform grid, and each weight takes the number that is nearest once its scale
    is what will be stored.
    """
    return Codebook.nearest(weight, level.name, BLOCK)
