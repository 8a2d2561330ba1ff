"""Recoveries of a cell are compared with each other on the same questions."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from test_analysis_answers import answers_of

from palimpsest.analysis import intervals
from palimpsest.analysis.about_facts import untold
from palimpsest.analysis.arms import Arm
from palimpsest.analysis.between import between_recoveries

CELL = ("atlas", "rtn", "rtn", "2", 0)


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    found = {"none": rng.random(200) < 0.3, "lora": rng.random(200) < 0.8}
    found["prompt"] = found["lora"] & (rng.random(200) < 0.9)
    rows = [answers_of((*CELL, name), right, task="closed_book") for name, right in found.items()]
    other = answers_of(("atlas", "svd", "svd", "k0.8", 0, "lora"), found["lora"], task="closed_book")
    return pandas.concat([*rows, other]), found


def test_a_pair_is_compared_once_with_its_paired_difference(answers):
    table, right = answers
    found = between_recoveries(table)
    assert list(found[["label", "recovery", "subset", "metric"]].itertuples(index=False, name=None)) == [
        ("rtn", *pair, "minus_recovery") for pair in (("lora", "prompt"), ("lora", "none"), ("prompt", "none"))
    ]
    assert found.value[1] == pytest.approx(right["lora"].mean() - right["none"].mean())
    change = right["lora"].astype(float) - right["prompt"]
    assert found.value[0] == pytest.approx(change.mean()) and 0 < found.low[0] < found.value[0] < found.high[0]
    alone = intervals.share(pandas.Series(right["lora"].astype(float)), pandas.Series(range(200)))
    assert found.high[0] - found.low[0] < alone.high - alone.low, "pairing is worth something"


def test_facts_never_shown_are_left_out(answers):
    table, right = answers
    never = table["question"].isin([f"q{number}" for number in range(100, 200)])
    found = between_recoveries(table.assign(subset=np.where(never, "never_shown", "questions_shown")))
    change = (right["lora"].astype(float) - right["prompt"])[:100]
    assert found.n[0] == 100 and found.value[0] == pytest.approx(change.mean())


def test_recoveries_are_compared_where_no_text_told_the_answer():
    """People of pool R and V, and twins whose text speaks of pool U, say nothing on what a recovery brings back."""
    table = answers_of((*CELL, "lora"), np.ones(4), task="closed_book")
    table["person"] = ["ann", "bob", "cleo", ""]
    table = pandas.concat([table, table.assign(recovery="lora-swapped")])
    facts = pandas.DataFrame({"person": ["ann", "bob", "cleo"], "pool": ["R", "V", "U"]})
    arms = {"lora": Arm(twin="lora-swapped"), "lora-swapped": Arm(seen="U", unseen="R")}
    found = untold(table, facts, arms)
    assert found[["person", "recovery"]].values.tolist() == [["cleo", "lora"], ["", "lora"]]
    assert untold(table, None, arms) is table
