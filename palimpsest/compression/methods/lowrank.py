"""Low rank: a matrix becomes two factors, of the rank that `levels.rank_for` gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import Positive
from palimpsest.compression.registry import method
from palimpsest.compression.spectrum import Eigenvectors, answer_directions, precisions, reaches
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare, rank_for

FLOOR = 1e-6  # of the largest scale of a channel
# A and M (given in a data type) where the leading eigenvectors of A M Aᵀ are the directions to keep (spectrum.py).
Answers = tuple[Float[Tensor, "out in"], Callable[[torch.dtype], Float[Tensor, "in in"]] | None]


@method(
    "svd",
    family="low rank",
    version="2",
    formula="W = U S Vᵀ; W′ = U_r S_r V_rᵀ",
    cost="the leading eigenvectors of the smaller of WWᵀ and WᵀW",
)
def svd(weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare) -> LowRank | Dense:
    """Keep the largest singular values: factors U√S and √S Vᵀ of W = U S Vᵀ (Eckart & Young, 1936)."""
    return truncate(weight, stats, level, ("svd",), lambda: (weight, None))


@method(
    "svd-llm",
    family="low rank",
    needs=("gram",),
    version="2",
    formula="G = E[xxᵀ] = L Lᵀ; W L = U S Vᵀ; W′ = U_r U_rᵀ W",
    cost="the leading eigenvectors of W G Wᵀ, or of R G Rᵀ with W = Q R where W is taller than wide",
)
def svd_llm(
    weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare, *, damping: Positive = 1e-6
) -> LowRank | Dense:
    """Keep the output directions with most energy: truncation-aware whitening (Wang et al., arXiv:2403.07378).

    With G = L Lᵀ the second moments of the inputs and W L = U S Vᵀ, the paper's factors are U√S and √S Vᵀ L⁻¹.
    Since S Vᵀ L⁻¹ = Uᵀ W, no factor of G has to be found or inverted: U is all that is needed, and inputs may have any
    rank. `damping`, in units of G's mean diagonal, only decides between directions that no input has.
    """
    return truncate(weight, stats, level, ("svd-llm", damping), lambda: (weight, partial(damped_gram, stats, damping)))


def truncate(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    key: tuple,
    answers: Callable[[], Answers],
) -> LowRank | Dense:
    """Project the answers of W to their leading directions; a level that keeps everything leaves the matrix dense."""
    rank = rank_for(*weight.shape, level)
    return Dense(weight) if rank is None else projected(weight, *leading(weight, stats, rank, key, answers))


def leading(
    weight: Float[Tensor, "out in"], stats: Statistics, rank: int, key: tuple, answers: Callable[[], Answers]
) -> tuple[Float[Tensor, "out rank"], Float[Tensor, " rank"]]:
    """The first `rank` orthonormal directions of the answers, with their sizes, largest first.

    One factorization, under `key`, serves all levels that are kept shares: it has the directions of the largest. It is
    in float32 where that tells the `rank` directions from noise.
    """
    half = weight.numel() // sum(weight.shape)
    count = half if rank <= half else min(weight.shape)
    for dtype in precisions(weight):
        basis, sizes = stats.once((*key, count, dtype), partial(_directions, answers, count, dtype, stats))
        if reaches(sizes, rank, dtype):
            break
    return basis[:, :rank], sizes[:rank]


def _directions(answers: Callable[[], Answers], count: int, dtype: torch.dtype, stats: Statistics) -> Eigenvectors:
    stats.record["factorization"] = str(dtype).removeprefix("torch.")
    return answer_directions(*answers(), count, dtype)


def projected(
    weight: Float[Tensor, "out in"], basis: Float[Tensor, "out rank"], sizes: Float[Tensor, " rank"]
) -> LowRank:
    """W′ = U Uᵀ W, as the factors U√S and √S⁻¹ Uᵀ W: for the singular vectors of W that is √S on either side."""
    balance = torch.where(sizes > 1e-7 * sizes[0], sizes, 1).sqrt()
    right = basis.T @ weight.to(basis.dtype) / balance[:, None]
    return LowRank((basis * balance).to(weight.dtype), right.to(weight.dtype))


def damped_gram(stats: Statistics, damping: float, dtype: torch.dtype) -> Float[Tensor, "in in"]:
    """G + δI, with G = E[xxᵀ] and δ `damping` times its mean diagonal (1 if all inputs are zero)."""
    gram = stats.gram.to(dtype)
    stats.record["damping"] = damping * (gram.diagonal().mean(dtype=torch.float64).item() or 1.0)
    gram.diagonal().add_(stats.record["damping"])
    return gram


def scaled(weight: Float[Tensor, "out in"], scales: Float[Tensor, " in"]) -> Float[Tensor, "out in"]:
    """W diag(s). A scale under a millionth of the largest counts as that: it then only decides what others leave open.

    Without any scale above zero all are 1.
    """
    largest = scales.max()
    floored = scales.clamp(min=FLOOR * largest) / largest if largest > 0 else torch.ones_like(scales)
    return weight * floored.to(weight.dtype)
