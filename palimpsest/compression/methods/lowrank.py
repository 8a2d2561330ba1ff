"""Low rank: a matrix becomes two factors, of the rank that `levels.rank_for` gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import Positive
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare, rank_for


@method(
    "svd",
    family="low rank",
    formula="W = U S Vᵀ; W′ = U_r S_r V_rᵀ",
    cost="an eigendecomposition of the smaller of WWᵀ and WᵀW",
)
def svd(weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare) -> LowRank | Dense:
    """Keep the largest singular values: factors U√S and √S Vᵀ of W = U S Vᵀ (Eckart & Young, 1936)."""
    return truncate(weight, level, lambda: stats.once(("svd",), lambda: left_singular(weight.double())))


@method(
    "svd-llm",
    family="low rank",
    needs=("gram",),
    formula="G = E[xxᵀ] = L Lᵀ; W L = U S Vᵀ; W′ = U_r U_rᵀ W",
    cost="an eigendecomposition of W G Wᵀ, or of G (shared) and of the whitened W where it is taller than wide",
)
def svd_llm(
    weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare, *, damping: Positive = 1e-6
) -> LowRank | Dense:
    """Keep the output directions with most energy: truncation-aware whitening (Wang et al., arXiv:2403.07378).

    With G = L Lᵀ the second moments of the inputs and W L = U S Vᵀ, the paper's factors are U√S and √S Vᵀ L⁻¹.
    Since S Vᵀ L⁻¹ = Uᵀ W, no factor of G has to be inverted: U is all that is needed, and inputs may have any rank.
    `damping`, in units of G's mean diagonal, only decides between directions that no input has.
    """

    def directions() -> tuple[Tensor, Tensor]:
        if weight.shape[0] > weight.shape[1]:
            return left_singular(weight.double() @ stats.root(damping))
        w = weight.double()
        energies, left = torch.linalg.eigh(w @ stats.damped_gram(damping) @ w.T)
        return left.flip(1), energies.flip(0).clamp(min=0).sqrt()

    return truncate(weight, level, lambda: stats.once(("svd-llm", damping), directions))


def truncate(
    weight: Float[Tensor, "out in"],
    level: KeptShare | RankShare,
    directions: Callable[[], tuple[Float[Tensor, "out k"], Float[Tensor, " k"]]],
    multiple: int = 1,
) -> LowRank | Dense:
    """Keep the first of the orthonormal output `directions` (with their sizes, largest first): W′ = U_r U_rᵀ W.

    The factors are U√S and √S⁻¹ Uᵀ W. A level that keeps everything leaves the matrix dense. The rank is rounded down
    to a multiple of `multiple`, unless it is smaller.
    """
    rank = rank_for(*weight.shape, level)
    if rank is None:
        return Dense(weight)
    rank = rank // multiple * multiple or rank
    left, sizes = directions()
    basis = left[:, :rank]
    balance = torch.where(sizes[:rank] > 1e-7 * sizes[0], sizes[:rank], 1).sqrt()
    return LowRank((basis * balance).to(weight.dtype), (basis.T @ weight.double() / balance[:, None]).to(weight.dtype))


def scaled_svd(
    name: str,
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    scales: Callable[[], Float[Tensor, " in"]],
    *key: object,
) -> LowRank | Dense:
    """Truncated SVD of W diag(s), with the scale taken off again: V_rᵀ diag(1/s) S is U_rᵀ W, so no s is divided by."""

    def directions() -> tuple[Tensor, Tensor]:
        return left_singular(weight.double() * scales())

    return truncate(weight, level, lambda: stats.once((name, *key), directions))


def left_singular(matrix: Float[Tensor, "m n"]) -> tuple[Float[Tensor, "m k"], Float[Tensor, " k"]]:
    """Left singular vectors and singular values, largest first, from the eigenvectors of AAᵀ or AᵀA."""
    if matrix.shape[0] <= matrix.shape[1]:
        squares, left = torch.linalg.eigh(matrix @ matrix.T)
        return left.flip(1), squares.flip(0).clamp(min=0).sqrt()
    squares, right = torch.linalg.eigh(matrix.T @ matrix)
    sizes = squares.flip(0).clamp(min=0).sqrt()
    # A v = s u, so the orthonormal basis of A V, in the same order, is U (up to signs); also where s is 0.
    left, triangle = torch.linalg.qr(matrix @ right.flip(1))
    return left * torch.where(triangle.diagonal() < 0, -1.0, 1.0), sizes
