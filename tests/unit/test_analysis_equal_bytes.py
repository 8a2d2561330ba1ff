"""The best cell is chosen on one half and reported on the other, among those that are small enough."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from palimpsest.analysis.answers import VARIANT, tidy
from palimpsest.analysis.equal_bytes import at_equal_bytes
from palimpsest.analysis.metrics import metrics
from palimpsest.halves import half

PEOPLE = [f"person {number}" for number in range(400)]
HALF_A = np.array([half(person) == "half_a" for person in PEOPLE])
SMALL = ("small", "dense", "dense", "full", 0, "none")
LARGE = ("large", "dense", "dense", "full", 0, "none")
SIZES = {SMALL: 100, LARGE: 400}


def cell(label, level, recovery="none"):
    return ("large", label, label, level, 0, recovery)


def answers_of(variant, right, task="closed_book", **columns):
    rows = {"question": PEOPLE, "person": PEOPLE, "correct": right, "task": task} | columns
    return tidy(pandas.DataFrame(rows | dict(zip(VARIANT, variant, strict=True))))


def sizes(of):
    rows = [dict(zip(VARIANT, key, strict=True)) | {"metric": "bytes_total", "value": size} for key, size in of.items()]
    return pandas.DataFrame(rows).assign(seed=lambda table: "s" + table["seed"].astype(str))


def table_of(answers, of):
    return at_equal_bytes(pandas.concat(answers), sizes(SIZES | of))


def only(table, metric):
    found = table[table["metric"] == metric]
    assert len(found) == 1, found
    return found.iloc[0]


def test_the_cell_is_chosen_on_one_half_and_reported_on_the_other():
    # Right on half_a alone, where it is chosen, and wrong where it is reported; the other is steady.
    lucky, steady = cell("rtn", "2"), cell("gptq", "2")
    answers = [answers_of(SMALL, 0.0), answers_of(LARGE, 1.0), answers_of(lucky, HALF_A.astype(float))]
    answers.append(answers_of(steady, (np.arange(400) % 2).astype(float)))
    found = only(table_of(answers, {lucky: 90, steady: 90}), "at_equal_bytes")
    assert (found["model"], found["label"], found["subset"]) == ("large", "rtn", "small")
    assert found["value"] == 0 and found["n"] == (~HALF_A).sum()


def test_a_cell_with_more_bytes_than_the_small_model_is_no_candidate():
    good, poor = cell("gptq", "4"), cell("gptq", "2")
    answers = [answers_of(SMALL, 0.0), answers_of(LARGE, 1.0), answers_of(good, 1.0), answers_of(poor, HALF_A * 0.0)]
    table = table_of(answers, {good: 101, poor: 100})
    assert only(table, "at_equal_bytes")["level"] == "2"
    count = only(table, "cells_at_equal_bytes")
    assert (count["value"], count["n"], count["model"], count["subset"]) == (1, 2, "small", "large")


def test_where_no_cell_is_small_enough_the_table_says_so_and_compares_nothing():
    answers = [answers_of(SMALL, 0.0), answers_of(LARGE, 1.0), answers_of(cell("gptq", "4"), 1.0)]
    table = table_of(answers, {cell("gptq", "4"): 200})
    assert table["metric"].tolist() == ["cells_at_equal_bytes"] and table["value"].tolist() == [0]


def test_recovered_cells_are_no_candidates():
    recovered = cell("gptq", "2", "lora")
    answers = [answers_of(SMALL, 0.0), answers_of(LARGE, 1.0), answers_of(cell("gptq", "2"), 0.0)]
    answers.append(answers_of(recovered, 1.0))
    assert only(table_of(answers, {cell("gptq", "2"): 90, recovered: 95}), "at_equal_bytes")["value"] == 0


def test_facts_that_were_never_shown_do_not_count():
    subset = np.where(np.arange(400) < 100, "never_shown", "questions_shown")
    right = (np.arange(400) >= 100).astype(float)
    variant = cell("gptq", "2")
    answers = [answers_of(SMALL, 1.0 - right, subset=subset), answers_of(LARGE, 1.0, subset=subset)]
    answers.append(answers_of(variant, right, subset=subset))
    assert only(table_of(answers, {variant: 90}), "at_equal_bytes")["value"] == 1


def test_texts_are_compared_by_the_ratio_of_perplexities():
    variant = cell("gptq", "2")
    columns = {"task": "perplexity", "tokens": 10}
    answers = [answers_of(model, None, score=-20.0, **columns) for model in (SMALL, LARGE)]
    answers.append(answers_of(variant, None, score=-10.0, **columns))
    found = only(table_of(answers, {variant: 90}), "perplexity_at_equal_bytes")
    assert found["value"] == pytest.approx(np.exp(1 - 2))


def test_texts_that_two_tokenizers_cut_differently_are_not_compared():
    variant = cell("gptq", "2")
    answers = [answers_of(model, None, task="perplexity", score=-20.0, tokens=10) for model in (LARGE, variant)]
    answers.append(answers_of(SMALL, None, task="perplexity", score=-20.0, tokens=11))
    assert set(table_of(answers, {variant: 90})["metric"]) == {"cells_at_equal_bytes"}


def test_the_best_of_many_equal_cells_is_not_better_than_the_small_model():
    """Eight cells as good as the small model: the best is better on the half that chose it, not on the other."""
    rng = np.random.default_rng(0)
    cells = [cell("rtn", str(number)) for number in range(8)]
    everyone = pandas.concat([answers_of(variant, 0.0) for variant in (SMALL, LARGE, *cells)], ignore_index=True)
    found = []
    for _ in range(16):
        drawn = everyone.assign(correct=(rng.random(len(everyone)) < 0.5).astype(float))
        found.append(only(table_of([drawn], dict.fromkeys(cells, 90)), "at_equal_bytes"))
    values = [row["value"] for row in found]
    assert abs(np.mean(values)) < 3 * np.std(values) / 4
    assert sum(row["low"] <= 0 <= row["high"] for row in found) >= 13, "15 of 16 are 95 %"


def test_the_comparison_is_a_metric_of_the_study_and_needs_measurements():
    variant = cell("gptq", "2")
    answers = pandas.concat([answers_of(SMALL, 0.0), answers_of(LARGE, 1.0), answers_of(variant, 1.0)])
    scoring = {"closed_book": ("generated", "exact_match")}
    found = metrics(answers, scoring, measurements=sizes(SIZES | {variant: 90}))
    assert found.loc[found["metric"] == "at_equal_bytes", "value"].tolist() == [1.0]
    assert not metrics(answers, scoring)["metric"].str.contains("equal_bytes").any()
