"""A new matrix in the form of a compressed one: its mask, its kind of grid, its rank."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import damped_gram, projected, scaled
from palimpsest.compression.rounding import Grid, int8_rows, runs_of
from palimpsest.compression.spectrum import answer_directions, precisions, reaches
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import (
    Codebook,
    CompressedWeight,
    Dense,
    LowRank,
    Mixed,
    Quantized,
    Sliced,
    Sparse,
    SparseQuantized,
    Whole,
)

QUANTIZED = (Quantized, Codebook, Mixed, SparseQuantized)
PRUNED = (Sparse, Sliced, SparseQuantized)
TIES = 1e-6  # damping that only decides between directions that no input has


def refit(weight: Float[Tensor, "out in"], like: CompressedWeight, stats: Statistics) -> CompressedWeight:
    """`weight` in the form of `like`, with its input scale and bias, in its data type.

    pruned: the values where `like` has some, zero elsewhere. quantized: rounded to nearest, with the same bits, groups
        and input scale; scales and (integer) zeros are fitted anew. low rank: the leading `rank` directions of the
        answers on the inputs of `stats` where it has their Gram matrix, else of the matrix itself. dense: as it is.
    """
    precise = weight.to(torch.promote_types(weight.dtype, torch.float32))
    scaled = precise if like.input_scale is None else precise * like.input_scale.to(precise)
    fitted = _fitted(scaled, like, stats).to(like.dtype)
    return fitted.beside(like.input_scale, like.bias, like.activation_bits)


def _fitted(weight: Float[Tensor, "out in"], like: CompressedWeight, stats: Statistics) -> CompressedWeight:
    match like:
        case Sparse():
            return Sparse(weight, like.kept, like.n_of_m)
        case Sliced():
            return Sliced(weight[like.kept_rows][:, like.kept_columns], like.kept_rows, like.kept_columns)
        case SparseQuantized():
            on_grid = _on_grid(weight.masked_fill(~like.kept, 0), like.quantized)
            return SparseQuantized(on_grid, like.kept, like.n_of_m)
        case Quantized():
            return _on_grid(weight, like)
        case Codebook():
            return Codebook.nearest(weight, like.codebook, like.block)
        case Mixed():
            regular = torch.ones(like.shape[1], dtype=torch.bool)
            regular[like.exempt] = False
            codes, scales = int8_rows(weight[:, regular], 8 * like.scales.element_size())
            return Mixed(codes, scales, weight[:, like.exempt], like.exempt)
        case LowRank():
            return truncated(weight, like.rank, stats)
        case Dense():
            return Whole(weight)
    raise TypeError(f"no way to give a matrix the form of {type(like).__name__}")


def truncated(
    weight: Float[Tensor, "out in"], rank: int, stats: Statistics, scales: Float[Tensor, " in"] | None = None
) -> LowRank:
    """The nearest matrix of this rank: in its answers to the inputs of `stats`, or in itself without their Gram matrix.

    U_r U_rᵀ W with U the eigenvectors of W G Wᵀ (G = E[xxᵀ], or the identity): see lowrank.projected. scales: the
    square roots of a diagonal G that is taken in its place.
    """
    moments = partial(damped_gram, stats, TIES) if "gram" in stats.needs and scales is None else None
    seen = weight if scales is None else scaled(weight, scales)
    for dtype in precisions(weight):
        basis, sizes = answer_directions(seen, moments, rank, dtype)
        if reaches(sizes, rank, dtype):
            break
    return projected(weight, basis, sizes)


def _on_grid(weight: Float[Tensor, "out in"], like: Quantized) -> Quantized:
    """Rounded to nearest; groups that are not runs of neighbours (act-order) stay the groups that they are."""
    order = torch.argsort(like.groups, stable=True)
    runs = runs_of(like.shape[1], like.group)
    grouped = weight[:, order]
    grid = Grid.for_weight(grouped, runs, like.bits, like.zeros is None, False, 8 * like.scales.element_size())
    found = grid.quantized(grouped, runs, [grid.fit(grouped[:, run]) for run in runs])
    codes = found.codes[:, torch.argsort(order)]
    return Quantized(codes, found.scales, found.zeros, like.bits, like.group, like.groups)
