"""Low rank from the covariance of the outputs: atomic feature mimicking, and Bolaco's estimate of the covariance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import damped_gram, leading, projected
from palimpsest.compression.ranges import Count, Positive
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight, Dense
from palimpsest.levels import KeptShare, RankShare, rank_for

Moments = Callable[[torch.dtype], Float[Tensor, "in in"]]


@method(
    "afm",
    family="low rank",
    needs=("gram", "input_means"),
    formula="Cov(Wx) = Q Λ Qᵀ; W₁ = Q_rᵀ W, W₂ = Q_r; bias (I - Q_r Q_rᵀ) W E[x]",
    cost="as svd-llm",
)
def afm(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    *,
    centred: bool = True,
    damping: Positive = 1e-6,
) -> CompressedWeight:
    """Keep the directions in which outputs vary most: atomic feature mimicking (Yu & Wu, AAAI 2023).

    The mean of the outputs is kept by a bias, which stands beside the layer's own. centred: false takes E[yyᵀ] for the
    covariance and has no bias, which is the optimum of svd-llm. `damping`, in units of the mean diagonal of E[xxᵀ],
    only decides between directions that no input has.
    """
    if not centred:
        return _mimic(weight, stats, level, ("afm", centred, damping), lambda dtype: damped_gram(stats, damping, dtype))

    def covariance(dtype: torch.dtype) -> Tensor:
        mean = stats.input_means.to(dtype)
        return damped_gram(stats, damping, dtype).addr_(mean, mean, alpha=-1)

    return _mimic(weight, stats, level, ("afm", centred, damping), covariance, stats.input_means)


@method(
    "bolaco",
    family="low rank",
    needs=("gram", "sample_means"),
    formula="C = E[xxᵀ] - Σ_g (n_g / n) x̄_g x̄_gᵀ over groups g of rows; W C Wᵀ = Q Λ Qᵀ; then as afm",
    cost="as svd-llm",
)
def bolaco(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    *,
    rows_a_group: Count = 32,
    rank_multiple: Count = 1,
    damping: Positive = 1e-6,
) -> CompressedWeight:
    """Keep the directions in which outputs vary within groups of texts: Bolaco (Ji et al., arXiv:2405.10616).

    As afm, but the covariance is the mean of those of groups of calibration rows, each about its own mean (pooled). A
    group counts by its tokens: the plain mean where all have as many. Fewer rows than a group leave afm. rows_a_group:
    that it is 32 is inferred from a file name of the published code. rank_multiple: the rank is rounded down to a
    multiple of it, if there is one; the published code has 8, and then fewer parameters are kept than asked. The paper
    also leaves values dense and searches a share for each kind of module: that is the allocation `bayesian`.
    """

    def pooled(dtype: torch.dtype) -> Tensor:
        means, counts = stats.sample_means
        gram = damped_gram(stats, damping, dtype)
        for some, weights in zip(means.split(rows_a_group), counts.split(rows_a_group), strict=True):
            mean = (weights @ some / weights.sum()).to(dtype)
            gram.addr_(mean, mean, alpha=-(weights.sum() / counts.sum()).item())
        return gram

    return _mimic(weight, stats, level, ("bolaco", rows_a_group, damping), pooled, stats.input_means, rank_multiple)


def _mimic(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    key: tuple,
    moments: Moments,
    input_means: Float[Tensor, " in"] | None = None,
    rank_multiple: int = 1,
) -> CompressedWeight:
    """Project to the leading eigenvectors of W M Wᵀ; where `input_means` are given, a bias keeps the mean output."""
    rank = rank_for(*weight.shape, level)
    if rank is None:
        return Dense(weight)
    rank = rank - rank % rank_multiple or rank
    compressed = projected(weight, *leading(weight, stats, rank, key, lambda: (weight, moments)))
    if input_means is None:
        return compressed
    mean = input_means.to(weight.dtype)
    return compressed.beside(bias=weight @ mean - compressed.left @ (compressed.right @ mean))
