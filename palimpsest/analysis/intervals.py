"""Intervals for shares, means, differences and ratios of questions that come in clusters (people, passages).

Questions about one person are right or wrong together, so a question counts for less than one (`effective.py`), and
what a bootstrap draws anew is the person, never the question. Shares have Wilson's interval, and sums of shares that
are made from the same questions have the one that follows from theirs: where few answers changed, a bootstrap has
too few to draw from and its intervals miss the truth up to four times in ten. Seeds are fixed: the same table gives
the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from palimpsest.analysis import effective
from palimpsest.analysis.effective import cluster_sums

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


@dataclass(frozen=True)
class Share(Estimate):
    """A share with what each cluster has more or less of it than the mean lets expect, (clusters,)."""

    residuals: np.ndarray

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, self.low, self.high, self.n)


def share(correct: pandas.Series, clusters: pandas.Series) -> Estimate:
    """A share of right answers with Wilson's interval at the number of independent questions that they are worth."""
    return clustered_share(*cluster_sums(correct, clusters)).estimate


def clustered_share(
    sums: np.ndarray, counts: np.ndarray, *, prior: float = 1.0, student: bool = False, level: float = LEVEL
) -> Share:
    """`share` from each cluster's number of right answers and of questions; `prior` as in `effective.intraclass`.

    `student` shrinks the effective size of clusters by (z/t)², for the G − 1 degrees of freedom that it was estimated
    from (Korn & Graubard 1998). A share alone does without: the doubt in `intraclass` widens it enough, a sum of
    shares it does not.
    """
    n, groups = counts.sum(), len(counts)
    value = float(sums.sum() / n)
    if groups < 2:
        return Share(value, float("nan"), float("nan"), int(n), np.zeros(groups))
    size = n
    if groups < n:
        quantile = (1 + level) / 2
        size = effective.effective_size(sums, counts, prior)
        size *= (stats.norm.ppf(quantile) / stats.t.ppf(quantile, groups - 1)) ** 2 if student else 1
    low, high = proportion_confint(value * size, size, alpha=1 - level, method="wilson")
    return Share(value, float(low), float(high), int(n), effective.residuals(sums, counts))


def weighted_sum(weights: Sequence[float], shares: Sequence[Share]) -> Estimate:
    """Σ weight · share of the same questions, with the interval that follows from those of the shares.

    "MOVER", the method of variance estimates recovery (Zou & Donner 2008, Statist. Med. 27:1693; Newcombe's interval
    is its first case): towards each end, a share's standard error is the arm of its own interval on that side.
    """
    values = np.array([each.value for each in shares])
    correlation = correlations(shares)
    ends = []
    for side in (-1, 1):
        arms = np.array([arm(each, side * weight) for weight, each in zip(weights, shares, strict=True)])
        parts = np.asarray(weights) * arms
        ends.append(side * np.sqrt(max(0.0, parts @ correlation @ parts)))
    value = float(values @ np.asarray(weights))
    return Estimate(value, value + float(ends[0]), value + float(ends[1]), shares[0].n)


def arm(each: Estimate, side: float) -> float:
    """Length of an interval's upper (side > 0) or lower arm."""
    return each.high - each.value if side > 0 else each.value - each.low


def correlations(shares: Sequence[Share]) -> np.ndarray:
    """How the shares vary together from cluster to cluster; one that does not vary goes with none."""
    residuals = np.array([each.residuals for each in shares])
    length = np.sqrt((residuals**2).sum(axis=1))
    unit = residuals / np.where(length > 0, length, 1)[:, None]
    found = unit @ unit.T
    np.fill_diagonal(found, 1.0)
    return found


def changes(change: pandas.Series, clusters: pandas.Series, level: float = LEVEL) -> tuple[Share, Share]:
    """The shares of questions lost (−1) and gained (+1). Each takes from both how changed answers come together."""
    counts = cluster_sums(change, clusters)[1]
    lost, gained = (cluster_sums(np.asarray(change) * way > 0, clusters)[0] for way in (-1, 1))
    prior = effective.intraclass(lost + gained, counts)
    return tuple(clustered_share(sums, counts, prior=prior, student=True, level=level) for sums in (lost, gained))


def paired_difference(change: pandas.Series, clusters: pandas.Series) -> Estimate:
    """Mean of changes of −1, 0 and 1: the share gained minus the share lost. No change is not certainty either."""
    return weighted_sum((-1, 1), changes(change, clusters))


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

    Few clusters make it too narrow: its percentiles are moved outwards to those of Student's t (the expanded
    percentile interval of Hesterberg 2015, The American Statistician 69:371).

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
        everyone, at, n_resamples=resamples, vectorized=True, method="percentile",
        confidence_level=expanded(min(sizes)), rng=seed,
    )  # fmt: skip
    low, high = result.confidence_interval
    return Estimate(value, float(low), float(high), n)


def bootstrap_totals(
    statistics: Callable[..., Sequence[np.ndarray]],
    populations: Sequence[np.ndarray],
    *,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Estimate]:
    """`bootstrap` of several statistics of the same draws that depend on the clusters' totals only.

    `populations` are arrays (totals, clusters). `statistics` gets an array (totals, …) of each, its totals over the
    clusters that were drawn, and returns as many numbers (…) as there are estimates.
    """
    sizes = [population.shape[-1] for population in populations]

    def at(*indices: np.ndarray, axis: int = -1) -> np.ndarray:
        drawn = [population @ _counts(index) for population, index in zip(populations, indices, strict=True)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack(statistics(*drawn))

    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.stack(statistics(*(population.sum(-1) for population in populations)))
    if min(sizes) < 2:
        return [Estimate(float(value), float("nan"), float("nan"), n) for value in values]
    everyone = [np.arange(size) for size in sizes]
    result = stats.bootstrap(
        everyone, at, n_resamples=resamples, vectorized=True, method="percentile",
        confidence_level=expanded(min(sizes)), rng=seed,
    )  # fmt: skip
    ends = zip(values, *result.confidence_interval, strict=True)
    return [Estimate(float(value), float(low), float(high), n) for value, low, high in ends]


def _counts(indices: np.ndarray) -> np.ndarray:
    """How often each cluster was drawn, (clusters, resamples), of indices (resamples, clusters), or (clusters,)."""
    size = indices.shape[-1]
    rows = indices.reshape(-1, size)
    places = rows + size * np.arange(len(rows))[:, None]
    counts = np.bincount(places.ravel(), minlength=rows.size).reshape(rows.shape).astype(float)
    return counts.T if indices.ndim > 1 else counts[0]


def expanded(groups: int, level: float = LEVEL) -> float:
    """The level of a percentile interval over so many clusters that covers at `level`."""
    quantile = np.sqrt(groups / (groups - 1)) * stats.t.ppf((1 + level) / 2, groups - 1)
    return float(2 * stats.norm.cdf(quantile) - 1)
