"""FWSVD: truncated SVD where errors weigh as much as the loss feels them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import scaled_svd
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "fwsvd",
    family="low rank",
    needs=("fisher",),
    formula="d_j = √Σ_i F_ij, F = E[(∂L/∂W)²]; W diag(d) = U S Vᵀ; W′ = U_r U_rᵀ W",
    cost="one backward pass a calibration row through the whole model (shared), and an SVD",
)
def fwsvd(weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare) -> LowRank | Dense:
    """Keep the singular values of the weights scaled by their Fisher information (Hsu et al., arXiv:2207.00112).

    Hsu et al. write weights as in × out, so that the row sums of their Fisher information are the sums over the outputs
    here: one factor for each input channel. A channel that the loss does not feel has no say in the directions.
    """
    return scaled_svd("fwsvd", weight, stats, level, lambda: stats.fisher.double().sum(0).sqrt())
