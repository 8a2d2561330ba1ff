"""Intervals agree with the published ones where there are such, and know that clustered answers are worth less.

Whether they keep their promise on simulated data: test_analysis_error_rates.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from statsmodels.stats.proportion import proportion_confint

from palimpsest.analysis import effective, intervals

PEOPLE, QUESTIONS = 80, 6
CLUSTERS = np.repeat(np.arange(PEOPLE), QUESTIONS)


def test_share_is_wilsons_interval_when_every_question_stands_alone():
    correct = np.arange(400) % 4 == 0
    estimate = intervals.share(correct, np.arange(400))
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(100, 400, method="wilson"), abs=2e-4)


def test_all_right_is_not_certainty():
    estimate = intervals.share(np.ones(60), np.repeat(np.arange(20), 3))
    assert estimate.value == 1 and estimate.low == pytest.approx(proportion_confint(20, 20, method="wilson")[0])


def test_nothing_changed_is_not_certainty():
    estimate = intervals.paired_difference(np.zeros(60), np.arange(60))
    end = proportion_confint(0, 60, method="wilson")[1]
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0, -end, end), abs=1e-9)


def test_interval_of_a_difference_is_near_tangos_score_interval_where_every_question_stands_alone():
    change = np.repeat([1, -1, 0], [14, 6, 24])
    estimate = intervals.paired_difference(change, np.arange(44))
    assert estimate.value == pytest.approx(8 / 44)
    assert (estimate.low, estimate.high) == pytest.approx(tango(14, 6, 44), abs=0.02)


def tango(gained, lost, n, z=1.959964):
    """Tango's score interval for a paired difference (1998, Statist. Med. 17:891), where its statistic is ±z."""

    def statistic(delta):
        b = -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        share = (np.sqrt(b**2 - 8 * n * c) - b) / (4 * n)
        return (gained - lost - n * delta) / np.sqrt(n * (2 * share + delta * (1 - delta)))

    value = (gained - lost) / n
    low = optimize.brentq(lambda delta: statistic(delta) - z, -0.999, value)
    return low, optimize.brentq(lambda delta: statistic(delta) + z, value, 0.999)


def test_weighted_sum_of_one_share_is_the_share():
    rng = np.random.default_rng(0)
    sums, counts = rng.binomial(6, rng.beta(2, 1, size=40)).astype(float), np.full(40, 6.0)
    share = intervals.clustered_share(sums, counts)
    assert intervals.weighted_sum([1.0], [share]) == share.estimate
    double = intervals.weighted_sum([-2.0], [share])
    assert (double.low, double.high) == pytest.approx((-2 * share.high, -2 * share.low))


def test_intraclass_correlation_is_found():
    rng = np.random.default_rng(0)
    for alike in (0.0, 0.3, 0.9):
        strength = (1 - alike) / max(alike, 1e-9)
        chance = rng.beta(0.4 * strength, 0.6 * strength, size=3000) if alike else np.full(3000, 0.4)
        counts = rng.integers(2, 9, size=3000)
        found = effective.intraclass(rng.binomial(counts, chance).astype(float), counts.astype(float))
        assert found == pytest.approx(alike, abs=0.04)


def test_answers_that_are_all_alike_in_a_cluster_are_worth_one_each():
    sums, counts = np.repeat([6.0, 0.0], 50), np.full(100, 6.0)
    assert effective.effective_size(sums, counts) == pytest.approx(100, rel=0.02)
    assert effective.effective_size(np.full(100, 3.0), counts) == pytest.approx(600, rel=0.05)


def test_same_table_gives_the_same_interval():
    values = np.random.default_rng(5).normal(size=PEOPLE * QUESTIONS)
    assert intervals.mean(values, CLUSTERS) == intervals.mean(values, CLUSTERS)


def test_one_cluster_has_no_interval():
    estimate = intervals.mean(np.array([0.0, 1.0]), np.array(["a", "a"]))
    assert estimate.value == 0.5 and np.isnan(estimate.low)


def test_one_cluster_has_no_interval_of_its_share_either():
    estimate = intervals.share(np.array([0, 1]), np.array(["a", "a"]))
    assert estimate.value == 0.5 and np.isnan(estimate.low) and np.isnan(estimate.high)
