"""Intervals for shares, means, differences and ratios of questions that come in clusters (people, passages).

Questions about one person are right or wrong together, so what is resampled is the person, never the question. All
sums are taken once a cluster; a bootstrap then draws clusters. Seeds are fixed: the same table gives the same
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, from `n` questions (or documents)."""

    value: float
    low: float
    high: float
    n: int

    def row(self) -> dict[str, float | int]:
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def cluster_sums(
    values: np.ndarray | pandas.Series, clusters: np.ndarray | pandas.Series
) -> tuple[np.ndarray, np.ndarray]:
    """(sum of the values, number of values) in each cluster, in the order of the clusters' names."""
    codes, _ = pandas.factorize(np.asarray(clusters), sort=True)
    return np.bincount(codes, weights=np.asarray(values, dtype=float)), np.bincount(codes).astype(float)


def share(correct: pandas.Series, clusters: pandas.Series) -> Estimate:
    """A share of right answers with Wilson's interval.

    Clusters make n questions worth fewer: Wilson is given the n at which independent questions would have the
    cluster-robust variance found here (Korn & Graubard's effective sample size, never more than n). All right or all
    wrong shows no variance to go by; then each cluster counts once.
    """
    sums, counts = cluster_sums(correct, clusters)
    total, n = sums.sum(), counts.sum()
    value = total / n
    effective = (
        float(len(counts)) if value in (0, 1) else min(n, value * (1 - value) / _variance_of_ratio(sums, counts))
    )
    low, high = proportion_confint(value * effective, effective, alpha=1 - LEVEL, method="wilson")
    return Estimate(float(value), float(low), float(high), int(n))


def _variance_of_ratio(sums: np.ndarray, counts: np.ndarray) -> float:
    """Cluster-robust variance of Σsums/Σcounts (the sandwich estimator of an intercept, G/(G−1) correction)."""
    groups = len(counts)
    if groups < 2:
        return float("inf")
    residuals = sums - counts * sums.sum() / counts.sum()
    variance = groups / (groups - 1) * (residuals**2).sum() / counts.sum() ** 2
    return float(max(variance, np.finfo(float).tiny))


def mean(values: pandas.Series, clusters: pandas.Series, seed: int = 0) -> Estimate:
    """A mean with its bootstrap interval over clusters."""
    sums, counts = cluster_sums(values, clusters)
    return bootstrap(lambda s, c: s.sum(-1) / c.sum(-1), [(sums, counts)], n=int(counts.sum()), seed=seed)


def bootstrap(
    statistic: Callable[..., np.ndarray],
    populations: Sequence[Sequence[np.ndarray]],
    *,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Percentile interval of `statistic` when the clusters of each population are drawn anew, with replacement.

    `populations` are independent samples; each is a tuple of arrays (clusters,) that are drawn together. `statistic`
    gets all arrays in order, each with its clusters on the last axis, and reduces that axis.
    """
    sizes = [len(population[0]) for population in populations]

    def at(*indices: np.ndarray, axis: int = -1) -> np.ndarray:
        drawn = [array[index] for population, index in zip(populations, indices, strict=True) for array in population]
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(*drawn)

    everyone = [np.arange(size) for size in sizes]
    value = float(at(*everyone))
    if min(sizes) < 2:
        return Estimate(value, float("nan"), float("nan"), n)
    result = stats.bootstrap(
        everyone, at, n_resamples=resamples, vectorized=True, method="percentile", confidence_level=LEVEL, rng=seed
    )
    low, high = result.confidence_interval
    return Estimate(value, float(low), float(high), n)


def sign_flip(values: pandas.Series, clusters: pandas.Series, family: int = 1, seed: int = 0) -> float:
    """Two-sided p-value of a mean of zero, from flipping the sign of whole clusters.

    `family` is the number of tests it will be corrected for: it sets how small a p-value must be told apart.
    """
    sums, _ = cluster_sums(values, clusters)
    sums = sums[sums != 0]  # a cluster that sums to zero is the same after a flip
    if len(sums) == 0:
        return 1.0
    resamples = max(4999, 200 * family - 1)
    # scipy's permutation_test gives the same at ten times the cost, which a grid of some hundred cells feels.
    bits = np.random.default_rng(seed).integers(0, 256, size=(resamples, -(-len(sums) // 8)), dtype=np.uint8)
    signs = np.unpackbits(bits, axis=1, count=len(sums))
    totals = 2 * (signs.astype(np.float32) @ sums.astype(np.float32)) - sums.sum()
    extreme = np.abs(totals) >= np.abs(sums.sum()) * (1 - 1e-5)
    return float((1 + extreme.sum()) / (1 + resamples))
