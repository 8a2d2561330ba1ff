"""Simulated clustered answers: intervals cover the truth 93 to 97 times in 100, and tests are wrong at most 5 times.

Clusters are balanced or not (one of forty questions, many of two), few or many; answers in a cluster are independent,
alike, or much alike; shares lie in the middle or near 0 and 1. Where hardly an answer is the rarer one, a share takes
so few values that no interval can cover just 95 % (Brown, Cai & DasGupta 2001): there coverage may be larger.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas
import pytest
from scipy import stats

from palimpsest.analysis import intervals, matching, multiple, seeds

BALANCED = {groups: np.full(groups, 6) for groups in (8, 20, 80, 300)}
UNBALANCED = {groups: np.maximum(1, 40 // (np.arange(groups) % 20 + 1)) for groups in BALANCED}
SHAPES = {f"{groups} {name}": counts[groups] for name, counts in (("balanced", BALANCED), ("unbalanced", UNBALANCED))
          for groups in BALANCED}  # fmt: skip
ALIKE = (0.0, 0.2, 0.5)  # intraclass correlations
CHANGES = {  # share right of the dense model, then of these lost, then of the others gained
    "often": (0.6, 0.2, 0.1), "much": (0.6, 0.5, 0.1), "both ways": (0.9, 0.1, 0.1),
    "seldom": (0.95, 0.02, 0.02), "nearly all": (0.99, 0.9, 0.0),
}  # fmt: skip
BOUNDARY = {  # the same, with a drop of exactly 5 %
    "only lost": (0.95, 0.05, 0.0), "all known": (1.0, 0.05, 0.0), "both ways": (0.6, 0.1, 0.075),
    "many both ways": (0.6, 0.2, 0.225), "little known": (0.3, 0.1, 0.3 * 0.05 / 0.7),
}  # fmt: skip


def numbers(rng, trials, counts, share, alike):
    """How many of each cluster's questions, (trials, clusters); beta-binomial."""
    if alike == 0 or share in (0, 1):
        return rng.binomial(np.broadcast_to(counts, (trials, counts.shape[-1])), share)
    strength = (1 - alike) / alike
    chance = rng.beta(share * strength, (1 - share) * strength, size=(trials, counts.shape[-1]))
    return rng.binomial(counts, chance)


def paired(rng, trials, counts, case, alike):
    """Trials of (dense right, change, cluster), a question a place."""
    right, lost, gained = case
    known = numbers(rng, trials, counts, right, alike)
    gone = numbers(rng, trials, known, lost, alike) if lost else np.zeros_like(known)
    won = numbers(rng, trials, counts - known, gained, alike) if gained else np.zeros_like(known)
    clusters = np.repeat(np.arange(len(counts)), counts)
    kinds = np.stack([gone, known - gone, won, counts - known - won], axis=2).reshape(trials, -1)
    dense, change = np.tile([1, 1, 0, 0], len(counts)), np.tile([-1, 0, 1, 0], len(counts))
    for row in kinds:
        yield np.repeat(dense, row), np.repeat(change, row), clusters


def truth(case):
    right, lost, gained = case
    return (1 - right) * gained - right * lost


def coverage_of_shares(rng, trials, shape, share, alike):
    counts = SHAPES[shape].astype(float)
    found = [intervals.clustered_share(sums, counts)
             for sums in numbers(rng, trials, SHAPES[shape], share, alike)]  # fmt: skip
    return np.mean([estimate.low <= share <= estimate.high for estimate in found])


def coverage_of_differences(rng, trials, shape, case, alike):
    found = [intervals.paired_difference(change, clusters)
             for _, change, clusters in paired(rng, trials, SHAPES[shape], case, alike)]  # fmt: skip
    return np.mean([estimate.low <= truth(case) <= estimate.high for estimate in found])


def verdicts_at_the_boundary(rng, trials, shape, case, alike):
    """Shares of wrong "matching" and "not matching"."""
    found = [matching.verdict(dense, dense + change, clusters)
             for dense, change, clusters in paired(rng, trials, SHAPES[shape], case, alike)]  # fmt: skip
    return np.mean(np.array(found) == 1), np.mean(np.array(found) == -1)


def at_most(percent, trials):
    """A rate that chance alone exceeds once in two hundred times."""
    return percent / 100 + 2.6 * (percent / 100 * (1 - percent / 100) / trials) ** 0.5


def at_least(percent, trials):
    return 1 - at_most(100 - percent, trials)


@pytest.mark.parametrize("shape", ["20 balanced", "80 balanced", "80 unbalanced"])
def test_interval_of_a_share_covers_the_truth(shape):
    rng, trials = np.random.default_rng(0), 250
    found = {case: coverage_of_shares(rng, trials, shape, *case)
             for case in itertools.product((0.3, 0.5, 0.8), (0.05, 0.2, 0.5))}  # fmt: skip
    assert min(found.values()) >= at_least(94, trials), found
    assert 0.93 <= np.mean(list(found.values())) <= 0.97, found


@pytest.mark.parametrize("shape", ["8 unbalanced", "80 balanced", "80 unbalanced"])
def test_interval_of_a_share_near_0_and_1_covers_the_truth(shape):
    rng, trials = np.random.default_rng(1), 250
    found = {case: coverage_of_shares(rng, trials, shape, *case)
             for case in itertools.product((0.03, 0.97), (0.0, 0.2, 0.5))}  # fmt: skip
    assert min(found.values()) >= at_least(94, trials), found


@pytest.mark.parametrize("shape", ["20 balanced", "80 balanced", "80 unbalanced"])
def test_interval_of_a_paired_difference_covers_the_truth(shape):
    rng, trials = np.random.default_rng(2), 200
    found = {(name, alike): coverage_of_differences(rng, trials, shape, CHANGES[name], alike)
             for name in ("often", "much") for alike in (0.2, 0.5)}  # fmt: skip
    assert min(found.values()) >= at_least(94, trials), found
    assert 0.93 <= np.mean(list(found.values())) <= 0.98, found


@pytest.mark.parametrize("shape", ["8 balanced", "80 balanced", "80 unbalanced"])
def test_interval_of_a_difference_of_few_flips_covers_the_truth_where_a_bootstrap_misses(shape):
    rng, trials, case = np.random.default_rng(3), 150, CHANGES["seldom"]
    assert coverage_of_differences(rng, trials, shape, case, 0.5) >= at_least(94, trials)
    drawn = [intervals.mean(change, clusters) for _, change, clusters in paired(rng, 60, SHAPES[shape], case, 0.5)]
    assert np.mean([estimate.low <= truth(case) <= estimate.high for estimate in drawn]) < 0.93


@pytest.mark.parametrize("shape", ["20 balanced", "80 balanced", "80 unbalanced"])
def test_a_drop_of_exactly_5_percent_is_called_matching_or_not_at_most_5_times_in_100_each(shape):
    rng, trials = np.random.default_rng(4), 200
    for name, alike in itertools.product(BOUNDARY, (0.0, 0.5)):
        rates = verdicts_at_the_boundary(rng, trials, shape, BOUNDARY[name], alike)
        assert max(rates) <= at_most(5.5, trials), (name, alike, rates)


def null_family(rng, counts, tests, alike=0.5):
    """Sums of changes, (clusters, tests), without effect: half of each cluster's changes are common to all tests, and a
    cluster's changes go one way."""

    def changes():
        return numbers(rng, 1, counts, 0.2, alike)[0] * rng.choice([-1, 1], len(counts))

    common = changes()
    return np.stack([np.where(rng.random(len(counts)) < 0.5, common, changes()) for _ in range(tests)], axis=1)


@pytest.mark.parametrize("shape", ["8 unbalanced", "20 balanced", "80 unbalanced"])
def test_sign_flips_are_wrong_at_most_5_times_in_100_and_a_t_test_of_questions_more_often(shape):
    rng, counts, trials = np.random.default_rng(5), SHAPES[shape], 40
    p = np.concatenate([multiple.p_values(null_family(rng, counts, 10, alike=0.5))["p"] for _ in range(trials)])
    assert np.mean(p <= 0.05) <= at_most(5, 10 * trials / 2)  # half of the changes are common to all tests
    naive = []
    for _ in range(300):
        sums = null_family(rng, counts, 1)[:, 0]
        change = np.repeat(np.sign(sums), np.abs(sums))
        naive.append(stats.binomtest(int((change > 0).sum()), len(change)).pvalue <= 0.05 if len(change) else False)
    assert np.mean(naive) > 0.10


@pytest.mark.parametrize("shape", ["8 unbalanced", "20 balanced", "80 unbalanced"])
def test_a_null_grid_has_a_survivor_in_at_most_5_percent_of_families(shape):
    rng, counts, families = np.random.default_rng(6), SHAPES[shape], 150
    found = [multiple.p_values(null_family(rng, counts, 8)) for _ in range(families)]
    assert np.mean([family["p_maxt"].min() <= 0.05 for family in found]) <= at_most(5, families)
    assert np.mean([8 * family["p"].min() <= 0.05 for family in found]) <= at_most(5, families)  # Holm's first step


def test_difference_over_seeds_covers_the_truth_where_seeds_differ():
    rng, covered, trials = np.random.default_rng(7), [], 150
    questions = [f"q{number}" for number in range(240)]
    of = pandas.Series(np.repeat(np.arange(60), 4), index=questions)
    for _ in range(trials):
        person = rng.beta(4, 2, size=60)[of.to_numpy()]
        dense = pandas.DataFrame({0: (rng.random(240) < 0.9).astype(float)}, index=questions)
        level = 0.9 * person + rng.normal(0, 0.05, size=(4, 1))  # each seed is better or worse on all questions
        right = pandas.DataFrame((rng.random((4, 240)) < level).T.astype(float), index=questions)
        found = seeds.weighted_means([(1.0, right, of), (-1.0, dense, of)])
        covered.append(found.low <= 0.6 - 0.9 <= found.high)
    assert np.mean(covered) >= at_least(94, trials)


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_error_rates_hold_in_every_shape(shape):
    rng, trials = np.random.default_rng(8), 2000
    for share, alike in itertools.product((0.02, 0.05, 0.1, 0.3, 0.5, 0.95), ALIKE):
        assert coverage_of_shares(rng, trials, shape, share, alike) >= at_least(94, trials), (share, alike)
    for (name, case), alike in itertools.product(CHANGES.items(), ALIKE):
        assert coverage_of_differences(rng, trials, shape, case, alike) >= at_least(94, trials), (name, alike)
    for (name, case), alike in itertools.product(BOUNDARY.items(), ALIKE):
        rates = verdicts_at_the_boundary(rng, trials, shape, case, alike)
        assert max(rates) <= at_most(5, trials), (name, alike, rates)
    found = [multiple.p_values(null_family(rng, SHAPES[shape], 8))["p_maxt"].min() for _ in range(600)]
    assert np.mean(np.array(found) <= 0.05) <= at_most(5, 600)
