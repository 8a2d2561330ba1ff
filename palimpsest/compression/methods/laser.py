"""LASER: one matrix is replaced by an approximation of low rank."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import svd
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "laser",
    family="low rank",
    levels=("rank share", "kept share"),
    formula="W = U S Vᵀ; W′ = U_r S_r V_rᵀ, r = ⌊ρ · min(out, in)⌋ at the level rρ",
    cost="an eigendecomposition of the smaller of WWᵀ and WᵀW; the search is the allocation's",
)
def laser(weight: Float[Tensor, "out in"], stats: Statistics, level: RankShare | KeptShare) -> LowRank | Dense:
    """Truncate the singular values of one matrix of the model (Sharma et al., arXiv:2312.13558).

    What the method does to a matrix is truncated SVD; the level r0.1 is the paper's ρ = 0.1. Which matrix it is, the
    allocation `laser` finds: a label with `method: laser` and without an allocation truncates all of them. Where ρ is
    so large that two factors have more parameters than the matrix, they still replace it, as rank is what is asked.
    """
    return svd(weight, stats, level)
