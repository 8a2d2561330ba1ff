"""Tests of many variants at once agree with the textbook ones where those apply."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from palimpsest.analysis import multiple


def test_sign_flips_agree_with_scipys():
    values = np.array([1.0, 1, -1, 1, 1, 1, 0, 1, -1, 1, 1, 2])
    exact = stats.permutation_test((values,), lambda x, axis: x.sum(axis), permutation_type="samples", vectorized=True)
    assert multiple.sign_flip(values) == pytest.approx(exact.pvalue, abs=0.015)


def test_sign_flips_of_questions_that_stand_alone_are_the_exact_mcnemar_test():
    gained, lost = 9, 21
    table = [[100, lost], [gained, 50]]
    p = multiple.sign_flip(np.repeat([1.0, -1, 0], [gained, lost, 150]))
    assert p == pytest.approx(mcnemar(table, exact=True).pvalue, abs=0.01)


def test_clustered_mcnemar_of_questions_that_stand_alone_is_mcnemars():
    gained, lost, n = 9, 21, 180
    sums = np.repeat([1.0, -1, 0], [gained, lost, n - gained - lost])[:, None]
    plain = mcnemar([[100, lost], [gained, 50]], exact=False, correction=False)
    found = stats.chi2.isf(multiple.clustered_mcnemar(sums)[0], df=1)
    assert found == pytest.approx(plain.statistic * (n - 1) / n)


def test_clustered_mcnemar_is_in_the_limit_what_sign_flips_are():
    rng = np.random.default_rng(0)
    sums = rng.integers(-3, 4, size=(400, 5)) + rng.choice([0, 0, 0, -1], size=(400, 5))
    found = multiple.p_values(sums.astype(float))
    assert found["p_mcnemar"] == pytest.approx(found["p"], abs=0.02)


def test_sign_flips_find_a_real_loss():
    rng = np.random.default_rng(3)
    sums = rng.binomial(6, 0.2, size=(80, 20)) * np.where(rng.random((80, 20)) < 0.8, -1, 1)
    assert np.mean(multiple.p_values(sums.astype(float))["p"] < 0.05) > 0.8


def test_max_t_corrects_less_than_holm_where_tests_go_together_and_as_much_where_they_do_not():
    rng = np.random.default_rng(1)
    common = rng.normal(0.3, 1, size=(60, 1))
    together, apart = common + rng.normal(0, 0.05, size=(60, 40)), rng.normal(0, 1, size=(60, 40))
    found = {name: multiple.family({(at,): pandas.Series(column) for at, column in enumerate(sums.T)})
             for name, sums in (("together", together), ("apart", apart))}  # fmt: skip
    least = {(name, p): min(row[p] for row in rows.values())
             for name, rows in found.items() for p in ("p_holm", "p_maxt")}  # fmt: skip
    assert least["together", "p_maxt"] < 0.2 * least["together", "p_holm"]
    assert least["apart", "p_maxt"] == pytest.approx(least["apart", "p_holm"], rel=0.3)
    for rows in found.values():
        assert all(row["p"] <= row["p_maxt"] <= 1 and row["p"] <= row["q_bh"] <= row["p_holm"] for row in rows.values())


def test_step_down_max_t_of_one_test_is_the_test():
    sums = np.random.default_rng(2).normal(0.2, 1, size=(30, 1))
    found = multiple.p_values(sums)
    assert found["p_maxt"][0] == found["p"][0]


def test_variants_that_change_nothing_have_a_p_value_of_one():
    found = multiple.family({("a",): pandas.Series([0.0, 0.0]), ("b",): pandas.Series([0.0, 0.0])})
    assert all(value == 1 for row in found.values() for value in row.values())


def test_tests_over_other_clusters_stand_in_one_family():
    found = multiple.family({("a",): pandas.Series({"x": 1.0, "y": 1.0}), ("b",): pandas.Series({"z": -1.0})})
    assert found["a",]["p"] == pytest.approx(0.5, abs=0.03) and found["b",]["p"] == 1
