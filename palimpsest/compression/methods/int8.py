"""LLM.int8(): integers for all input channels but the outliers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import Positive, ScaleBits
from palimpsest.compression.registry import method
from palimpsest.compression.rounding import int8_rows
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight, Mixed
from palimpsest.levels import Format


@method(
    "llm-int8",
    family="quantization",
    needs=("input_peaks",),
    levels=("format",),
    formats=("int8",),
    formula="O = {j: max|x_j| > 6}; y = W_O x_O + s_w s_x Σ_{j∉O} round(w_j / s_w)·round(x_j / s_x), s = max|·| / 127",
    cost="one pass over the weights; of the inputs only their peaks",
)
def llm_int8(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Format,
    *,
    threshold: Positive = 6.0,
    scale_bits: ScaleBits = 0,
) -> CompressedWeight:
    """Round weights and inputs to int8, but for input channels with outliers (Dettmers et al., arXiv:2208.07339).

    Each row of W and each token has the scale of its largest entry among the channels that are rounded. The outliers'
    columns keep the checkpoint's precision (16 bits as a rule). Which channels these are is decided once, by
    max |x_j| > threshold over the calibration inputs; the authors' code decides anew for each batch, so that what it
    answers depends on what else is in the batch.
    """
    outlier = stats.input_peaks > threshold
    codes, scales = int8_rows(weight[:, ~outlier], scale_bits)
    exempt = outlier.nonzero().flatten()
    return Mixed(codes, scales, weight[:, exempt], exempt).beside(activation_bits=8)
