"""Matching is shown or refuted, not read off; and so is the level at which it stops."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from scipy import optimize
from test_analysis_answers import DENSE, answers_of, row_of

from palimpsest.analysis import intervals, matching, power
from palimpsest.analysis.flips import flips
from palimpsest.analysis.matching import MATCHING, NOT_MATCHING, UNDECIDED


def pair(n, lost, gained, right=0.9):
    """Right answers of dense and variant; every question stands alone."""
    dense = (np.arange(n) < right * n).astype(float)
    variant = dense.copy()
    variant[: round(lost * n)] = 0
    variant[n - round(gained * n) :] = 1
    return dense, variant, np.arange(n)


def test_a_small_drop_matches_on_many_questions_and_is_undecided_on_few():
    assert matching.verdict(*pair(2000, lost=0.03, gained=0.01)) == MATCHING
    assert matching.verdict(*pair(100, lost=0.03, gained=0.01)) == UNDECIDED


def test_a_large_drop_does_not_match_and_a_gain_does():
    assert matching.verdict(*pair(500, lost=0.15, gained=0.01)) == NOT_MATCHING
    assert matching.verdict(*pair(500, lost=0.0, gained=0.08)) == MATCHING


def test_no_change_on_twenty_people_does_not_show_a_match():
    people = np.repeat(np.arange(20), 30)
    assert matching.verdict(np.ones(600), np.ones(600), people) == UNDECIDED
    assert matching.verdict(np.ones(600), np.ones(600), np.arange(600)) == MATCHING


def test_dense_model_that_knows_nothing_leaves_it_undecided():
    nothing = np.zeros(300)
    assert matching.verdict(nothing, nothing, np.arange(300)) == UNDECIDED
    assert np.isnan(matching.relative_drop(nothing, nothing, np.arange(300)).value)


@pytest.mark.parametrize("lost, gained, right", [(0.1, 0.02, 0.9), (0.3, 0.01, 0.6), (0.02, 0.06, 0.8)])
def test_interval_of_the_relative_drop_ends_where_the_equivalence_test_turns(lost, gained, right):
    dense, variant, groups = pair(400, lost, gained, right)
    found = matching.relative_drop(dense, variant, groups)
    assert found.value == pytest.approx((lost - gained) / right)
    change = variant - dense
    shares = [intervals.clustered_share(*intervals.cluster_sums(dense, groups)), *intervals.changes(change, groups)]

    def end(name):
        def zero(margin):
            return getattr(intervals.weighted_sum((margin, -1, 1), shares), name)

        return optimize.brentq(zero, -1, 1)

    if found.low > 0:
        assert found.low == pytest.approx(end("high"))
    if found.high > 0:
        assert found.high == pytest.approx(end("low"))
    assert found.low < found.value < found.high


def test_relative_drop_covers_the_truth():
    rng, people, covered = np.random.default_rng(0), np.repeat(np.arange(60), 5), []
    for _ in range(300):
        dense = (rng.random(300) < rng.beta(8, 2, size=60)[people]).astype(float)
        variant = dense * (rng.random(300) >= rng.beta(0.8, 3.2, size=60)[people])
        found = matching.relative_drop(dense, variant, people)
        covered.append(found.low <= 0.2 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.98


def test_isotonic_regression_of_rows_is_scipys():
    rows = np.random.default_rng(0).normal(size=(50, 7)).round(1)
    expected = [optimize.isotonic_regression(row, increasing=False).x for row in rows]
    assert matching.falling(rows) == pytest.approx(np.array(expected))


def levels(shares, n=1000):
    """Right answers of dense, which knows everything, and at each level, on questions that stand alone."""
    return [np.ones(n), *((np.arange(n) < share * n).astype(float) for share in shares)]


def test_stopping_level_lies_between_the_levels_where_accuracy_passes_95_percent():
    found = matching.stopping(levels([0.99, 0.97, 0.93, 0.5]), [0.3, 0.4, 0.5, 0.6], np.arange(1000))
    assert found.value == pytest.approx(0.45)
    assert 0.4 < found.low < 0.45 < found.high < 0.505


def test_a_bump_above_the_threshold_beyond_the_stopping_level_is_smoothed_away():
    found = matching.stopping(levels([0.99, 0.90, 0.96, 0.5]), [0.3, 0.4, 0.5, 0.6], np.arange(1000))
    assert 0.3 < found.value < 0.4


def test_stopping_level_in_bits_counts_downwards():
    found = matching.stopping(levels([1.0, 0.99, 0.9]), [8, 4, 3], np.arange(1000))
    assert found.value == pytest.approx(3 + 5 / 9) and found.low < found.value < found.high


def test_a_label_that_never_stops_or_stopped_before_its_first_level_has_an_open_interval():
    never = matching.stopping(levels([1.0, 0.99]), [0.3, 0.5], np.arange(1000))
    assert np.isnan(never.value) and never.low == 0.5 and np.isnan(never.high)
    always = matching.stopping(levels([0.8, 0.7]), [0.3, 0.5], np.arange(1000))
    assert np.isnan(always.value) and np.isnan(always.low) and always.high == 0.3
    never_in_bits = matching.stopping(levels([1.0, 0.99]), [4, 2], np.arange(1000))
    assert np.isnan(never_in_bits.value) and np.isnan(never_in_bits.low) and never_in_bits.high == 2


def test_interval_of_the_stopping_level_covers_the_truth():
    rng, people, covered = np.random.default_rng(1), np.repeat(np.arange(80), 5), []
    scale, shares = [0.3, 0.4, 0.5, 0.6, 0.7], [0.99, 0.97, 0.93, 0.8, 0.5]  # passes 0.95 at 0.45
    edges = np.quantile(rng.beta(2, 2, size=100_000) * 0.5 + rng.random(100_000) * 0.5, shares)
    for _ in range(150):
        hard = rng.beta(2, 2, size=80)[people] * 0.5 + rng.random(400) * 0.5  # a fact that goes at one level is gone
        rights = [np.ones(400), *((hard < edge).astype(float) for edge in edges)]
        found = matching.stopping(rights, scale, people)
        covered.append(not found.low > 0.45 and not found.high < 0.45)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_stopping_level_stands_at_every_cell_of_its_label():
    rng = np.random.default_rng(0)
    tables = [answers_of(DENSE, np.ones(200))]
    for level, share in (("0.3", 0.99), ("0.5", 0.6), ("2:4", 0.5)):
        for seed in (0, 1):
            tables.append(answers_of(("tiny", "wanda", "wanda", level, seed, "none"), rng.random(200) < share))
    found = matching.stopping_levels(pandas.concat(tables))
    cells = {(row.level, row.seed) for row in found.itertuples()}
    assert cells == {("0.3", 0), ("0.3", 1), ("0.5", 0), ("0.5", 1)}, "2:4 has no place between sparsities"
    assert found["value"].nunique() == 1 and 0.3 < found["value"].iloc[0] < 0.5


def test_a_difference_as_large_as_the_detectable_one_is_found_four_times_in_five():
    rng, people, effect = np.random.default_rng(2), np.repeat(np.arange(60), 5), 0.1
    change = rng.choice([-1, 0, 1], p=[0.15, 0.8, 0.05], size=300)
    detectable = power.detectable(intervals.paired_difference(change, people), 60)
    found = []
    lost = 0.1 + effect / 2
    for _ in range(400):
        change = rng.choice([-1, 0, 1], p=[lost, 0.8, 0.2 - lost], size=300)
        estimate = intervals.paired_difference(change, people)
        found.append(not estimate.low < 0 < estimate.high)
    # Power grows with the effect: 0.1 is somewhat more than what is detectable here.
    assert 0.06 < detectable < effect and 0.8 < np.mean(found) < 1
    assert np.isnan(power.detectable(intervals.paired_difference(change, np.zeros(300)), 1))


def test_verdicts_and_what_could_have_been_found_are_metrics_of_every_variant():
    dense = answers_of(DENSE, np.ones(60))
    cell = answers_of(("tiny", "rtn", "rtn", "2", 0, "none"), np.arange(60) % 3 > 0)
    table = flips(pandas.concat([dense, cell]))
    assert row_of(table, subset="all", metric="matching")["value"] == NOT_MATCHING
    assert row_of(table, subset="all", metric="relative_drop")["value"] == pytest.approx(1 / 3)
    assert 0 < row_of(table, subset="all", metric="detectable")["value"] < 0.5
