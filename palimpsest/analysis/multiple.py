"""Tests of many variants at once: is the difference to dense zero, given that so many were asked?

All tests flip the sign of whole clusters: were compression to change nothing but by chance, a person's gain might as
well be a loss. The statistic is that of the clustered McNemar test (Obuchowski 1998, Statist. Med. 17:1495),

    T = Σ_c (gained_c − lost_c) / √Σ_c (gained_c − lost_c)²,

which a flip changes in its numerator only; `p_mcnemar` is its p-value in the limit of many clusters, printed because
it is the name that reviewers look for. With few clusters the flips are the ones to go by.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas
from scipy import stats
from statsmodels.stats.multitest import multipletests

CORRECTED = {"p_holm": "holm", "q_bh": "fdr_bh"}
CHUNK = 1024  # flips held in memory at once


def p_values(sums: np.ndarray, clusters: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """p-values of a family of tests, (tests,) each, from `sums` (clusters, tests) of gained minus lost.

    `clusters` is how many there are, where those in which nothing changed are left out of `sums`.

    `p`           sign flips, each test alone
    `p_mcnemar`   clustered McNemar, each test alone
    `p_maxt`      corrected for the chance of one false finding in the family, by step-down max-T (Westfall & Young
                  1993): the same flips for all tests, so that tests which go together count for fewer
    """
    length = np.sqrt((sums**2).sum(axis=0))
    units = (sums / np.where(length > 0, length, 1)).astype(np.float32)
    observed = np.abs(units.sum(axis=0)) * (1 - 1e-5)
    # p-values must be small enough to be told apart after Holm's correction: 0.02 is its least.
    resamples = max(4999, 50 * sums.shape[1] - 1)
    order = np.argsort(-observed, kind="stable")
    alone, jointly = np.ones(len(observed)), np.ones(len(observed))
    for signs in _signs(units.shape[0], resamples, seed):
        flipped = np.abs(signs @ units)
        alone += (flipped >= observed).sum(axis=0)
        # The largest of the tests that are not rejected yet, step by step from the last.
        largest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
        jointly += (largest >= observed[order]).sum(axis=0)
    found = {"p": alone / (1 + resamples), "p_mcnemar": clustered_mcnemar(sums, clusters)}
    found["p_maxt"] = np.empty(len(observed))
    found["p_maxt"][order] = np.maximum.accumulate(jointly / (1 + resamples))
    return found


def corrected(p: np.ndarray) -> dict[str, np.ndarray]:
    """The same p-values corrected for each other, by what they are alone.

    `p_holm`      for the chance of one false finding in the family, however the tests depend
    `q_bh`        as false discovery rate (Benjamini & Hochberg 1995)
    """
    return {name: multipletests(p, method=method)[1] for name, method in CORRECTED.items()}


def clustered_mcnemar(sums: np.ndarray, clusters: int | None = None) -> np.ndarray:
    """Obuchowski's χ² p-value of each test, from what `p_values` takes.

    One question a cluster makes it the plain McNemar test, but for the factor (G − 1)/G of its variance.
    """
    groups, squares = clusters or len(sums), (sums**2).sum(axis=0)
    statistic = (groups - 1) / groups * sums.sum(axis=0) ** 2 / np.where(squares > 0, squares, 1)
    return stats.chi2.sf(statistic, df=1)


def sign_flip(sums: np.ndarray, seed: int = 0) -> float:
    """Two-sided p-value of one test, from its clusters' sums of changes."""
    return float(p_values(np.asarray(sums, dtype=float)[:, None], seed=seed)["p"][0])


def family(changes: dict[tuple, pandas.Series], seed: int = 0) -> dict[tuple, dict[str, float]]:
    """test -> its p-values. `changes` are each test's sums by cluster; one that a test lacks did not change there."""
    sums = pandas.DataFrame(changes).fillna(0.0)
    found = p_values(sums.loc[(sums != 0).any(axis=1)].to_numpy(), len(sums), seed)
    found |= corrected(found["p"])
    return {key: {name: float(values[at]) for name, values in found.items()} for at, key in enumerate(changes)}


def _signs(clusters: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`resamples` rows of ±1, some at a time, (flips, clusters)."""
    # scipy's permutation_test gives the same at ten times the cost, which a grid of some hundred cells feels.
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - start)
        bits = generator.integers(0, 256, size=(rows, -(-clusters // 8)), dtype=np.uint8)
        yield 2 * np.unpackbits(bits, axis=1, count=clusters).astype(np.float32) - 1
