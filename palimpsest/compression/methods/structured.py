"""Structured pruning: whole input channels of a matrix are removed (structured.py takes their producers along)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.ranges import Positive
from palimpsest.compression.registry import method
from palimpsest.compression.selection import smallest
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Sliced
from palimpsest.levels import Sparsity


@method(
    "structured",
    family="pruning",
    needs=("gram",),
    levels=("sparsity",),
    propagate=True,
    coupled=True,
    formula="drop the units U with the smallest tr(W_U G_UU W_Uᵀ); W′_K = W_K + W_U G_UK (G_KK + δI)⁻¹ for the kept K",
    cost="out·in·unit for the scores; a Cholesky factor of what is kept of the Gram matrix for the update",
)
def structured(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Sparsity,
    *,
    compensate: bool = True,
    damping: Positive = 0.01,
) -> Sliced:
    """Remove the attention heads and MLP channels that send least energy on (after FASP, Hu et al., arXiv:2501.09412).

    In a model the matrix is the one that reads the heads (those that share a key and a value go together) or the
    channels; with its columns go the rows that make them. In a lone matrix a unit is one input channel. The energy of a
    unit is E‖W_U x_U‖²; for one channel that is Wanda's score, squared and summed over rows. compensate: the columns
    that are left make up for the others by least squares, with a ridge of `damping` mean diagonals of the Gram matrix.
    """
    units = weight.shape[1] // stats.unit
    parts = weight.reshape(len(weight), units, stats.unit)
    gram = stats.gram.to(weight).view(units, stats.unit, units, stats.unit).diagonal(dim1=0, dim2=2)
    energy = (torch.einsum("rua,abu->rub", parts, gram) * parts).sum((0, 2))
    removed = smallest(energy, level.fraction).repeat_interleave(stats.unit)
    kept = weight[:, ~removed]
    if compensate and removed.any():
        gram = stats.damped_gram(damping)
        factor = torch.linalg.cholesky(gram[~removed][:, ~removed])
        lost = weight[:, removed].double() @ gram[removed][:, ~removed]
        kept = (kept + torch.cholesky_solve(lost.T, factor).T).to(weight.dtype)
    return Sliced(kept, kept_columns=~removed)
