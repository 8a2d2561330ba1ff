"""LASER: one matrix of the model loses its smallest singular values."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import truncate
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "laser",
    family="low rank",
    levels=("rank share", "kept share"),
    allocation="laser",
    formula="W = U S Vᵀ; W′ = U_r S_r V_rᵀ, r = ⌊ρ min(out, in)⌋",
    cost="as svd; its allocation: a pass of the calibration through the model for each matrix and level",
)
def laser(weight: Float[Tensor, "out in"], stats: Statistics, level: RankShare | KeptShare) -> LowRank | Dense:
    """Keep a share ρ of the rank of one matrix, the one that the model misses least (Sharma et al., arXiv:2312.13558).

    To a matrix it does what svd does. What makes it LASER is that all others are left as they are: which one it is, is
    decided by an allocation, without which no cell is made: `laser`, which searches, or `only`, which is told.
    """
    return truncate(weight, stats, level, ("laser",), lambda: (weight, None))
