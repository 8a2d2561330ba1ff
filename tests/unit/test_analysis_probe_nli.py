"""What probes and inference lose together, and how their ranks go together over cells."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from scipy import stats

from palimpsest.analysis.probe_nli import FEWEST, group_of, spearman, together

CELLS = {("svd", "k0.8"): 0.02, ("svd", "k0.6"): 0.2, ("asvd", "k0.8"): 0.03, ("asvd", "k0.6"): 0.1}


def rows(probes=("tree_depth", "bigram_shift"), cells=CELLS, tie=1.0):
    """Probes fall by what inference falls by, times `tie`; layer 2 is read best, and layer 1 says the contrary."""
    found = []

    def add(label, level, task, subset, scoring, layer, metric, value, half=0.01):
        who = {"model": "atlas", "label": label, "method": label, "level": level, "seed": 0, "recovery": "none"}
        what = {"task": task, "subset": subset, "scoring": scoring, "layer": str(layer), "metric": metric}
        found.append(who | what | {"value": value, "low": value - half, "high": value + 2 * half, "n": 100})

    for label, level in [("dense", "full"), ("random", "full"), *cells]:
        drop = cells.get((label, level), 0.0)
        for task in probes:
            for layer, most in ((1, 0.6), (2, 0.9)):
                for subset in ("mean", "last"):
                    add(label, level, task, subset, "linear", layer, "acc", most - drop)
                    if (label, level) in cells:
                        change = -tie * drop if layer == 2 and subset == "mean" else drop
                        add(label, level, task, subset, "linear", layer, "acc_minus_dense", change)
        if (label, level) in cells:
            add(label, level, "entailment", "two", "ranked", "", "difference", -drop)
            add(label, level, "entailment", "all", "ranked", "", "difference", drop)
    return pandas.DataFrame(found)


def test_a_groups_change_is_the_mean_of_its_probes_at_the_layer_read_best():
    table = together(rows().astype({"value": object, "low": object, "high": object}))  # as tables joined may be
    changes = table[table["metric"] == "probe_change"].set_index(["label", "level"])
    assert set(changes["task"]) == {"syntax"} and set(changes["subset"]) == {"entailment"}
    for cell, drop in CELLS.items():
        row = changes.loc[cell]
        assert row["value"] == pytest.approx(-drop)
        # Two probes with arms of 0.01 and 0.02 each, on different sentences.
        assert row["value"] - row["low"] == pytest.approx(0.01 / np.sqrt(2))
        assert row["high"] - row["value"] == pytest.approx(0.02 / np.sqrt(2)) and row["n"] == 200


@pytest.mark.parametrize(("tie", "rho"), [(1.0, 1.0), (-1.0, -1.0)])
def test_the_rank_correlation_stands_at_the_dense_model(tie, rho):
    table = together(rows(tie=tie))
    [row] = table[table["metric"] == "probe_nli_spearman"].itertuples()
    assert (row.model, row.label, row.level, row.n) == ("atlas", "dense", "full", 4)
    assert row.value == pytest.approx(rho)


def test_no_correlation_of_fewer_than_four_cells_and_none_without_inference():
    few = dict(list(CELLS.items())[: FEWEST - 1])
    assert not (together(rows(cells=few))["metric"] == "probe_nli_spearman").any()
    assert not (together(rows(tie=0.0))["metric"] == "probe_nli_spearman").any(), "probes that change nowhere"
    table = rows()
    assert together(table[table["task"] != "entailment"]).empty
    assert together(table[table["metric"] == "difference"]).empty


def test_spearman_is_scipys_and_its_interval_that_of_cells_drawn_anew():
    draws = np.random.default_rng(3)
    first = draws.normal(size=25)
    second = np.round(first + draws.normal(size=25), 1)  # with ties
    found = spearman(first, second)
    assert found.value == pytest.approx(stats.spearmanr(first, second).statistic) and found.n == 25
    again = [
        stats.spearmanr(first[drawn], second[drawn]).statistic
        for drawn in draws.integers(0, 25, size=(1000, 25))
    ]  # fmt: skip
    assert (found.low, found.high) == pytest.approx(np.quantile(again, [0.022, 0.978]), abs=0.06)


def test_the_interval_of_unrelated_changes_holds_zero_nearly_always():
    draws = np.random.default_rng(0)
    found = [spearman(draws.normal(size=12), draws.normal(size=12)) for _ in range(60)]
    assert sum(one.low <= 0 <= one.high for one in found) >= 53


def test_probes_are_grouped_by_the_end_of_their_name():
    assert [group_of(name) for name in ("tree_depth", "ewt_subj_number", "attribute_value", "truth_heads")] == [
        "syntax", "semantics", "facts", "truth_heads",
    ]  # fmt: skip
