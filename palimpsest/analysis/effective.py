"""How many independent questions some clustered ones are worth."""

from __future__ import annotations

import numpy as np
import pandas

BELIEF = 0.5  # clusters' worth of belief that a cluster's answers are all alike


def cluster_sums(
    values: np.ndarray | pandas.Series, clusters: np.ndarray | pandas.Series
) -> tuple[np.ndarray, np.ndarray]:
    """(sum of the values, number of values) in each cluster, in the order of the clusters' names."""
    codes, _ = pandas.factorize(np.asarray(clusters), sort=True)
    return np.bincount(codes, weights=np.asarray(values, dtype=float)), np.bincount(codes).astype(float)


def intraclass(sums: np.ndarray, counts: np.ndarray, prior: float = 1.0) -> float:
    """The intraclass correlation of 0/1 answers, 0 to 1, from each cluster's sum and count.

    The estimate is that of the analysis of variance (Fleiss, Levin & Paik 2003, section 15.2), drawn towards `prior`
    by half a cluster's weight against the clusters in which the rarer answer was seen: three wrong answers in a
    thousand say little about how wrong answers come together, and the plain estimate takes them for independent.
    """
    groups, n = len(counts), counts.sum()
    rarer = sums if sums.sum() <= n / 2 else counts - sums
    seen = int((rarer > 0).sum())
    if groups < 2 or n == groups:
        return prior
    shares = sums / counts
    between = (counts * (shares - sums.sum() / n) ** 2).sum() / (groups - 1)
    within = (sums * (1 - shares)).sum() / (n - groups)
    size = (n - (counts**2).sum() / n) / (groups - 1)
    total = between + (size - 1) * within
    found = float(np.clip((between - within) / total, 0, 1)) if total > 0 else prior
    return (seen * found + BELIEF * prior) / (seen + BELIEF)


def effective_size(sums: np.ndarray, counts: np.ndarray, prior: float = 1.0) -> float:
    """The number of independent questions whose share of right answers would have the variance found here.

    The smaller of what the intraclass correlation and what the sandwich estimator say (Korn & Graubard's effective
    sample size); never more than the questions that there are.
    """
    n, value = counts.sum(), sums.sum() / counts.sum()
    size = n**2 / (counts * (1 + (counts - 1) * intraclass(sums, counts, prior))).sum()
    robust = variance(sums, counts)
    return float(min(size, value * (1 - value) / robust)) if robust > 0 else float(size)


def variance(sums: np.ndarray, counts: np.ndarray) -> float:
    """Cluster-robust variance of Σsums/Σcounts (the sandwich estimator of an intercept, G/(G−1) correction)."""
    groups = len(counts)
    if groups < 2:
        return float("inf")
    return float(groups / (groups - 1) * (residuals(sums, counts) ** 2).sum() / counts.sum() ** 2)


def residuals(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What each cluster's sum is above what the mean over all lets expect, (clusters,)."""
    return sums - counts * sums.sum() / counts.sum()
