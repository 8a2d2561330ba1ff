"""Low rank: a matrix becomes two factors with rank = floor(share · out · in / (out + in)), at least 1."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, rank_for


@method("svd", family="low rank")
def svd(weight: Float[Tensor, "out in"], stats: Statistics | None, level: KeptShare) -> LowRank | Dense:
    """Keep the largest singular values: factors U√S and √S Vᵀ of W = U S Vᵀ (Eckart & Young, 1936)."""
    if level.share == 1:
        return Dense(weight)
    left, sizes = left_singular(weight.double())
    return _factors(weight, left, sizes, level)


@method("svd-llm", family="low rank", needs=("gram",))
def svd_llm(
    weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare, *, damping: float = 1e-6
) -> LowRank | Dense:
    """Keep the output directions with most energy: truncation-aware whitening (Wang et al., arXiv:2403.07378).

    With G = L Lᵀ the second moments of the inputs and W L = U S Vᵀ, the paper's factors are U√S and √S Vᵀ L⁻¹.
    Since S Vᵀ L⁻¹ = Uᵀ W, no factor of G has to be inverted: U is all that is needed, and inputs may have any rank.
    `damping`, in units of G's mean diagonal, only decides between directions that no input has.
    """
    if level.share == 1:
        return Dense(weight)
    rows, columns = weight.shape
    if rows <= columns:
        w = weight.double()
        energies, left = torch.linalg.eigh(w @ stats.damped_gram(damping) @ w.T)
        left, sizes = left.flip(1), energies.flip(0).clamp(min=0).sqrt()
    else:
        left, sizes = left_singular(weight.double() @ stats.root(damping))
    return _factors(weight, left, sizes, level)


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


def _factors(weight: Tensor, left: Tensor, sizes: Tensor, level: KeptShare) -> LowRank:
    """U√S and √S⁻¹ Uᵀ W for the largest singular values: their product projects the output of W onto U's columns."""
    rank = max(1, rank_for(*weight.shape, level.share))
    basis = left[:, :rank]
    balance = torch.where(sizes[:rank] > 1e-7 * sizes[0], sizes[:rank], 1).sqrt()
    return LowRank((basis * balance).to(weight.dtype), (basis.T @ weight.double() / balance[:, None]).to(weight.dtype))
