"""Low rank with weights that the loss is sensitive to: Fisher information."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import scaled, truncate
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "fwsvd",
    family="low rank",
    needs=("fisher",),
    formula="d_j² = Σ_i E[(∂L/∂w_ij)²]; W diag(d) = U S Vᵀ; W′ = U_r S_r V_rᵀ diag(d)⁻¹ = U_r U_rᵀ W",
    cost="a backward pass of the whole model a calibration row (shared by all levels); then as svd",
)
def fwsvd(weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare) -> LowRank | Dense:
    """Keep the largest singular values of W diag(d), d² each input's Fisher information (Hsu et al., arXiv:2207.00112).

    The paper writes weights as in × out; its sums over rows are sums over outputs here. One number a channel is what
    leaves a singular value decomposition; the information of single weights would not. No task is fine-tuned on
    afterwards, as the paper does: that is a recovery. A channel without information takes part in choosing directions
    only where the others leave it open.
    """
    return truncate(
        weight, stats, level, ("fwsvd",), lambda: (scaled(weight, stats.fisher.double().sum(0).sqrt()), None)
    )
