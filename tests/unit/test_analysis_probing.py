"""Outcomes of probes as metrics: shares, selectivity, differences from the dense model, codelengths."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from statsmodels.stats.proportion import proportion_confint

from palimpsest.analysis.probing import table
from palimpsest.probing.outcome import Outcome
from palimpsest.probing.study import _table


def outcomes(label: str, *said: Outcome, recovery: str = "none", task: str = "tree_depth") -> pandas.DataFrame:
    who = {"model": "atlas", "label": label, "method": label, "level": "full", "seed": 0, "recovery": recovery}
    return pandas.concat([_table(outcome, who | {"task": task}) for outcome in said], ignore_index=True)


def outcome(values, controls=None, subset="mean", layer=2, metric="acc", rows=None, classes=2) -> Outcome:
    ids = np.array([str(number) for number in (range(len(values)) if rows is None else rows)])
    controls = None if controls is None else np.array(controls, dtype=float)
    return Outcome(subset, "linear", layer, metric, ids, ids, np.array(values, dtype=float), controls, classes)


def value(metrics, metric, **where):
    for column, wanted in where.items():
        metrics = metrics[metrics[column] == wanted]
    (row,) = metrics[metrics["metric"] == metric].to_dict("records")
    return row


def test_accuracy_has_wilsons_interval_and_stands_beside_its_control():
    metrics = table([outcomes("dense", outcome([1] * 70 + [0] * 30, [1] * 20 + [0] * 80))])
    row = value(metrics, "acc")
    assert row["layer"] == "2" and row["n"] == 100 and row["subset"] == "mean"
    assert (row["low"], row["high"]) == pytest.approx(proportion_confint(70, 100, method="wilson"))
    assert value(metrics, "control_acc")["value"] == pytest.approx(0.2)
    selectivity = value(metrics, "selectivity")
    assert selectivity["value"] == pytest.approx(0.5) and selectivity["low"] < 0.5 < selectivity["high"]


def test_without_a_control_task_there_is_no_selectivity():
    assert set(table([outcomes("dense", outcome([1, 0, 1, 1]))])["metric"]) == {"acc"}


def test_a_variant_is_compared_with_the_dense_model_row_by_row():
    rows = list(range(8))
    dense = outcome([1, 1, 1, 1, 1, 1, 0, 0], rows=rows)
    other = outcome([0, 0, 1, 1, 1, 1, 1, 0][::-1], rows=rows[::-1])  # two lost, one gained, in another order
    frame = pandas.concat([outcomes("dense", dense), outcomes("svd", other), outcomes("dense", dense, recovery="r")])
    metrics = table([frame])
    change = value(metrics, "acc_minus_dense", label="svd")
    assert change["value"] == pytest.approx(-1 / 8) and change["low"] < -1 / 8 < change["high"]
    assert value(metrics, "acc_minus_dense", recovery="r")["value"] == 0
    assert not (
        (metrics["metric"] == "acc_minus_dense") & (metrics["label"] == "dense") & (metrics["recovery"] == "none")
    ).any()


def test_attributes_are_put_together_and_poolings_are_not():
    parts = outcome([1, 1], subset="town", rows=["a", "b"]), outcome([0, 0], subset="trade", rows=["c", "d"])
    asked = table([outcomes("dense", *parts, task="attribute_value")])
    assert value(asked, "acc", subset="all")["value"] == 0.5
    pooled = table([outcomes("dense", outcome([1, 1]), outcome([0, 0], subset="last"))])
    assert set(pooled["subset"]) == {"mean", "last"}


def test_codelength_is_the_sum_of_bits_and_compression_what_it_saves():
    bits = np.array([0.5, 1.5, 1.0, 0.2, 0.8, 2.0])
    metrics = table([outcomes("dense", outcome(bits, np.full(6, 2.0), metric="codelength", classes=4))])
    assert value(metrics, "codelength")["value"] == pytest.approx(6.0)
    assert value(metrics, "control_codelength")["value"] == pytest.approx(12.0)
    compression = value(metrics, "compression")
    assert compression["value"] == pytest.approx(6 * 2 / 6.0)
    assert compression["low"] < compression["value"] < compression["high"]


def test_scores_of_sentences_are_means_with_differences_from_the_dense_model():
    dense, other = np.array([0.9, 0.8, 1.0, 0.7]), np.array([0.6, 0.8, 0.9, 0.5])
    frame = pandas.concat([
        outcomes("dense", outcome(dense, metric="uuas")), outcomes("svd", outcome(other, metric="uuas")),
    ])  # fmt: skip
    metrics = table([frame])
    assert value(metrics, "uuas", label="svd")["value"] == pytest.approx(other.mean())
    assert value(metrics, "uuas_minus_dense", label="svd")["value"] == pytest.approx((other - dense).mean())


def test_majority_and_shuffled_labels_are_rows_of_their_own():
    metrics = table([outcomes(
        "random", outcome([1, 0], [1, 1], metric="majority", layer=0), outcome([0, 1], metric="shuffled")
    )])  # fmt: skip
    assert {row["metric"]: row["value"] for row in metrics.to_dict("records")} == {
        "majority": 0.5, "control_majority": 1.0, "shuffled_acc": 0.5
    }  # fmt: skip


def test_nothing_tested_is_a_row_without_a_number():
    empty = Outcome("town", "linear", 2, "acc", *(np.array([]) for _ in range(3)), None, 1)
    row = value(table([outcomes("dense", empty)]), "acc")
    assert row["n"] == 0 and np.isnan(row["value"])
