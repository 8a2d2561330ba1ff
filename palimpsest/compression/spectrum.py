"""The directions in which a layer answers most, which every low-rank method keeps: eigenvectors of W M Wᵀ."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 512  # up to this size float64 costs nothing that one would notice
TILE = 512  # rows of a symmetric product that are computed at once
FLOAT32_REACH = 1e-5  # eigenvalues smaller than this share of the largest are left to float64

Matrix = Float[Tensor, "out in"]
Moments = Float[Tensor, "in in"]
Eigenvectors = tuple[Float[Tensor, "out count"], Float[Tensor, " count"]]


def precisions(matrix: Matrix) -> tuple[torch.dtype, ...]:
    """The data types to factorize in, in this order, until one `reaches` the directions that are wanted."""
    wide = matrix.dtype == torch.float32 and min(matrix.shape) > SMALL
    return (torch.float32, torch.float64) if wide else (torch.float64,)


def reaches(sizes: Float[Tensor, " count"], rank: int, dtype: torch.dtype) -> bool:
    """Whether a factorization in `dtype` tells the first `rank` directions of these sizes from noise.

    Float32 moves eigenvalues by about 1e-7 of the largest, and turns those directions into one another that are hardly
    further apart. What the best directions lose grows by the square of that only: by less than a millionth of itself
    while the eigenvalues that are kept are above 1e-5 of the largest.
    """
    return dtype == torch.float64 or bool((sizes[rank - 1] / sizes[0]).square() > FLOAT32_REACH)


def answer_directions(
    matrix: Matrix, moments: Callable[[torch.dtype], Moments] | None, count: int, dtype: torch.dtype
) -> Eigenvectors:
    """The first `count` eigenvectors of A M Aᵀ, largest first, and the square roots of their eigenvalues, in `dtype`.

    matrix: A. moments: gives M, symmetric and positive semidefinite, in a data type; None stands for the identity, and
    then these are the left singular vectors of A with its singular values.
    """
    size = matrix.abs().max().double().clamp(min=torch.finfo(torch.float64).tiny).item()
    a = matrix.to(dtype) / size  # of moderate size, so that squares neither overflow nor vanish
    tall = len(a) > a.shape[1]
    if tall:  # A = Q R, and the directions of R M Rᵀ are those of A M Aᵀ in the basis Q
        reflectors, factors = torch.geqrf(a)
        a = reflectors[: a.shape[1]].triu()
    m, energy = None if moments is None else moments(dtype), 1.0
    if m is not None:
        energy = m.diagonal().mean(dtype=torch.float64).item() or 1.0
        m /= energy
    product = _symmetric_product(a, m)
    del a, m
    values, basis = leading_eigenvectors(product, min(count, len(product)))
    sizes = values.clamp(min=0).sqrt() * (size * math.sqrt(energy))
    if tall:
        basis = torch.ormqr(reflectors, factors, torch.nn.functional.pad(basis, (0, 0, 0, len(matrix) - len(basis))))
    return basis, sizes.to(basis.dtype)


def leading_eigenvectors(matrix: Float[Tensor, "n n"], count: int) -> tuple[Float[Tensor, " count"], Tensor]:
    """The `count` largest eigenvalues of a symmetric matrix, largest first, in float64, and their eigenvectors.

    Only the upper triangle is read, and it is overwritten. By Householder reflections to a tridiagonal matrix, whose
    eigenvectors MRRR finds in float64; only those that are wanted are carried back. For half of the eigenvectors of a
    4096 × 4096 matrix in float32 that takes two thirds of the time of torch.linalg.eigh, which divides and conquers,
    and is more exact.
    """
    size = len(matrix)
    if size <= SMALL:
        values, vectors = torch.linalg.eigh(matrix.double(), UPLO="U")
        return values.flip(0)[:count], vectors.flip(1)[:, :count].to(matrix.dtype)
    import numpy as np
    from scipy.linalg import eigh_tridiagonal, lapack  # costs as long to import as small matrices take

    reduce = lapack.ssytrd if matrix.dtype == torch.float32 else lapack.dsytrd
    # What is the upper triangle for torch is the lower one for LAPACK, which goes down columns.
    reflectors, diagonal, beside, factors, _ = reduce(matrix.numpy().T, lower=1, lwork=64 * size, overwrite_a=1)
    values, inner = eigh_tridiagonal(
        diagonal.astype(np.float64), beside.astype(np.float64), lapack_driver="stemr", check_finite=False
    )
    vectors = torch.from_numpy(inner.T)[-count:].flip(0).to(matrix.dtype).T
    vectors[1:] = torch.ormqr(torch.from_numpy(reflectors)[1:, :-1], torch.from_numpy(factors), vectors[1:])
    return torch.from_numpy(values).flip(0)[:count], vectors


def _symmetric_product(a: Matrix, moments: Moments | None) -> Float[Tensor, "out out"]:
    """The upper triangle of A M Aᵀ, by tiles; what is below the tiles on the diagonal is zero."""
    left = a if moments is None else a @ moments
    product = torch.zeros(len(a), len(a), dtype=a.dtype)
    for start in range(0, len(a), TILE):
        stop = start + TILE
        torch.mm(left[start:stop], a[start:].T, out=product[start:stop, start:])
    return product
