"""ASVD: truncated SVD where input channels weigh as much as they are active."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import scaled_svd
from palimpsest.compression.ranges import Positive
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "asvd",
    family="low rank",
    needs=("input_magnitudes",),
    formula="s_j = E[|x_j|]^α; W diag(s) = U S Vᵀ; W′ = U_r U_rᵀ W",
    cost="an SVD",
)
def asvd(
    weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare, *, alpha: Positive = 0.5
) -> LowRank | Dense:
    """Keep the singular values of the weights scaled by the inputs' magnitudes (Yuan et al., arXiv:2312.05821).

    The SVD is exact (the authors' code uses a randomized one, which loses more). Their search for the rank of each
    matrix is the allocation `sensitivity`.
    """
    return scaled_svd("asvd", weight, stats, level, lambda: stats.input_magnitudes.double().pow(alpha), alpha)
