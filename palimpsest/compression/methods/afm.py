"""AFM and Bolaco: the features that a matrix makes are projected, not its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.methods.lowrank import left_singular, truncate
from palimpsest.compression.ranges import Count
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.levels import KeptShare, RankShare


@method(
    "afm",
    family="low rank",
    needs=("gram", "input_means"),
    formula="Cov(Wx) = Q Λ Qᵀ, μ = E[Wx]; W′ = Q_r Q_rᵀ W, bias μ - Q_r Q_rᵀ μ",
    cost="an eigendecomposition of W Cov(x) Wᵀ (out × out)",
)
def afm(
    weight: Float[Tensor, "out in"], stats: Statistics, level: KeptShare | RankShare, *, centred: bool = True
) -> LowRank | Dense:
    """Project a layer's answers on their principal components: atomic feature mimicking (Yu & Wu, AAAI 2023).

    The mean answer goes through unchanged, by a bias. centred: without it the second moments take the place of the
    covariance and there is no bias; then the factors span what svd-llm's do.
    """
    mean = stats.input_means.double() if centred else torch.zeros(stats.width, dtype=torch.float64)

    def moments() -> Float[Tensor, "in in"]:
        return stats.gram.double() - torch.outer(mean, mean)

    return _project(("afm", centred), weight, stats, level, moments, mean if centred else None)


@method(
    "bolaco",
    family="low rank",
    needs=("gram", "sample_means"),
    formula="Σ_g n_g Cov_g(Wx) / n = Q Λ Qᵀ over groups g of rows; W′ = Q_r Q_rᵀ W, bias μ - Q_r Q_rᵀ μ",
    cost="an eigendecomposition of W Cov(x) Wᵀ (out × out)",
)
def bolaco(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    *,
    rows_a_group: Count = 32,
    rank_multiple: Count = 1,
) -> LowRank | Dense:
    """AFM with the covariance pooled over groups of calibration rows (Ji et al., arXiv:2405.10616).

    Each group's own mean is taken off before the groups' covariances are averaged. That groups are runs of
    `rows_a_group` calibration rows is inferred from a file name of the authors. rank_multiple: ranks are rounded down
    to multiples of it; the authors' code has 8, here the rank is what the level asks. Their search for the shares of
    five kinds of matrix is the allocation `bayesian`.
    """
    means, counts = stats.sample_means
    groups = torch.arange(len(counts)) // rows_a_group
    tokens = torch.zeros(int(groups[-1]) + 1, dtype=torch.float64).index_add_(0, groups, counts)
    sums = torch.zeros(len(tokens), stats.width, dtype=torch.float64).index_add_(0, groups, means * counts[:, None])
    mean = sums.sum(0) / tokens.sum()

    def moments() -> Float[Tensor, "in in"]:
        return stats.gram.double() - (sums / tokens[:, None]).T @ sums / tokens.sum()

    return _project(("bolaco", rows_a_group), weight, stats, level, moments, mean, rank_multiple)


def _project(
    key: tuple,
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: KeptShare | RankShare,
    moments: Callable[[], Float[Tensor, "in in"]],
    mean: Float[Tensor, " in"] | None,
    multiple: int = 1,
) -> LowRank | Dense:
    """Keep the first principal directions of W x, whose inputs have these (central) second `moments`."""

    def root() -> Float[Tensor, "in in"]:
        sizes, vectors = torch.linalg.eigh(stats.shared(key, moments))
        return vectors * sizes.clamp(min=0).sqrt()

    def directions() -> tuple[Tensor, Tensor]:
        w = weight.double()
        if len(w) > stats.width:
            return left_singular(w @ stats.shared((*key, "root"), root))
        energies, left = torch.linalg.eigh(w @ stats.shared(key, moments) @ w.T)
        return left.flip(1), energies.flip(0).clamp(min=0).sqrt()

    compressed = truncate(weight, level, lambda: stats.once(key, directions), multiple)
    if mean is None or isinstance(compressed, Dense):
        return compressed
    lost = weight.double() @ mean - compressed.matrix().double() @ mean
    return compressed.beside(bias=lost.to(weight.dtype))
