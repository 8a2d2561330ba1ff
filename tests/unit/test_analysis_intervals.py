"""Intervals and tests hold their promise on simulated clustered data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from palimpsest.analysis import intervals

PEOPLE, QUESTIONS = 80, 6
CLUSTERS = np.repeat(np.arange(PEOPLE), QUESTIONS)


def changes(rng: np.random.Generator, drop: float = 0.0) -> np.ndarray:
    """Paired changes (−1, 0, 1) of 80 people's questions that come and go together; the true mean is −drop."""
    person = rng.beta(0.6, 2.4, size=PEOPLE)  # how often this person's answers change at all
    towards_loss = (1 + drop / 0.2) / 2
    lost = np.where(rng.random(PEOPLE) < towards_loss, -1, 1)[CLUSTERS]  # all of a person's changes go one way
    return lost * (rng.random(PEOPLE * QUESTIONS) < person[CLUSTERS])


def test_interval_of_a_difference_covers_the_truth_in_93_to_97_percent():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(600):
        estimate = intervals.mean(changes(rng, drop=0.1), CLUSTERS, seed=trial)
        covered += estimate.low <= -0.1 <= estimate.high
    assert 0.93 <= covered / 600 <= 0.97


def test_sign_flips_find_nothing_in_at_most_5_percent_where_a_t_test_of_questions_finds_much():
    rng = np.random.default_rng(1)
    found = naive = 0
    for _ in range(1000):
        change = changes(rng)
        found += intervals.sign_flip(change, CLUSTERS) <= 0.05
        naive += stats.ttest_1samp(change, 0).pvalue <= 0.05
    assert found / 1000 <= 0.05 + 1.64 * (0.05 * 0.95 / 1000) ** 0.5
    assert naive / 1000 > 0.10


def test_a_null_grid_has_a_survivor_of_holm_in_at_most_5_percent():
    rng = np.random.default_rng(2)
    families = 200
    wrong = 0
    for _ in range(families):
        p = [intervals.sign_flip(changes(rng), CLUSTERS, family=6) for _ in range(6)]
        wrong += min(p) <= 0.05 / 6  # Holm's first step
    assert wrong / families <= 0.05 + 1.64 * (0.05 * 0.95 / families) ** 0.5


def test_sign_flips_agree_with_scipys():
    values = np.array([1, 1, -1, 1, 1, 1, 0, 1, -1, 1, 1, 2])
    clusters = np.arange(12)
    exact = stats.permutation_test((values,), lambda x, axis: x.sum(axis), permutation_type="samples", vectorized=True)
    assert intervals.sign_flip(values, clusters) == pytest.approx(exact.pvalue, abs=0.01)


def test_sign_flips_find_a_real_loss():
    rng = np.random.default_rng(3)
    assert np.mean([intervals.sign_flip(changes(rng, drop=0.12), CLUSTERS) < 0.05 for _ in range(20)]) > 0.8


def test_share_is_wilsons_interval_when_every_question_stands_alone():
    correct = np.arange(400) % 4 == 0
    estimate = intervals.share(correct, np.arange(400))
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(100, 400, method="wilson"), abs=2e-4)


def test_share_of_clustered_answers_covers_the_truth():
    rng = np.random.default_rng(4)
    covered = naive = 0
    for _ in range(400):
        correct = rng.random(PEOPLE * QUESTIONS) < rng.beta(2.1, 0.9, size=PEOPLE)[CLUSTERS]
        estimate = intervals.share(correct, CLUSTERS)
        covered += estimate.low <= 0.7 <= estimate.high
        low, high = proportion_confint(correct.sum(), correct.size, method="wilson")
        naive += low <= 0.7 <= high
    assert 0.93 <= covered / 400 <= 0.97
    assert naive / 400 < 0.9


def test_all_right_is_not_certainty():
    estimate = intervals.share(np.ones(60), np.repeat(np.arange(20), 3))
    assert estimate.value == 1 and estimate.low == pytest.approx(proportion_confint(20, 20, method="wilson")[0])


def test_same_table_gives_the_same_interval():
    values = np.random.default_rng(5).normal(size=PEOPLE * QUESTIONS)
    assert intervals.mean(values, CLUSTERS) == intervals.mean(values, CLUSTERS)


def test_one_cluster_has_no_interval():
    estimate = intervals.mean(np.array([0.0, 1.0]), np.array(["a", "a"]))
    assert estimate.value == 0.5 and np.isnan(estimate.low)
