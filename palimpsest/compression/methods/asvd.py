"""Low rank with weights that large inputs meet."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import scaled, truncate
from palimpsest.compression.ranges import Share
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "asvd",
    family="low rank",
    needs=("input_magnitudes",),
    formula="s_j = E[|x_j|]^α; W diag(s) = U S Vᵀ; W′ = U_r S_r V_rᵀ diag(s)⁻¹ = U_r U_rᵀ W",
    cost="as svd; of the inputs only their mean magnitudes",
)
def asvd(
    weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare, *, alpha: Share = 0.5
) -> LowRank | Dense:
    """Keep the largest singular values of W diag(s), s_j = E[|x_j|]^α (ASVD, Yuan et al., arXiv:2312.05821).

    The decomposition is exact; the authors' code has a randomized one, which loses more. The rank of each matrix is
    that of its level: the paper's search is the allocation `sensitivity`. alpha: 0 is svd. A channel that is always
    zero takes part in choosing directions only where the others leave it open.
    """

    def scales() -> Tensor:
        return stats.input_magnitudes.double() ** alpha

    return truncate(weight, stats, level, ("asvd", alpha), lambda: (scaled(weight, scales()), None))
