"""The smallest difference that a task would have found: the other half of "no significant difference"."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestPower

from palimpsest.analysis.intervals import LEVEL, Estimate

POWER = 0.8


def detectable(difference: Estimate, clusters: int) -> float:
    """The difference that a two-sided test at 5 % over so many clusters finds with power 0.8.

    From the standard error that the interval of the difference stands for, which counts how answers cluster and is
    not zero where nothing changed. Not a number with one cluster.
    """
    if clusters < 2:
        return float("nan")
    half = (difference.high - difference.low) / 2
    error = half / stats.t.ppf((1 + LEVEL) / 2, clusters - 1)
    return float(_effect(clusters) * np.sqrt(clusters) * error)


@cache
def _effect(clusters: int) -> float:
    """In standard deviations of a cluster."""
    return float(TTestPower().solve_power(nobs=clusters, alpha=1 - LEVEL, power=POWER, alternative="two-sided"))
