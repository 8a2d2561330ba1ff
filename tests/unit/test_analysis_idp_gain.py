"""Dynamic prompts are compared with the best of their prompts, chosen on other people."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from test_analysis_answers import answers_of

from palimpsest.analysis.idp_gain import best_on_the_other_half, idp_gain
from palimpsest.halves import half

CELL = ("atlas", "rtn", "rtn", "2", 0)
OF = {"idp": ["short", "long"]}
PEOPLE = np.array([f"p{number}" for number in range(200)])


def answered(**right):
    return pandas.concat([answers_of((*CELL, name), values, person=PEOPLE) for name, values in right.items()])


def test_the_gain_is_over_the_better_prompt_and_paired():
    rng = np.random.default_rng(0)
    short, long = rng.random(200) < 0.4, rng.random(200) < 0.7
    found = idp_gain(answered(short=short, long=long, idp=long | (np.arange(200) < 20)), OF)
    row = found[found["subset"] == "all"].iloc[0]
    assert row["value"] == pytest.approx((~long[:20]).mean() / 10)
    assert row["low"] > 0 and (row["recovery"], row["metric"], row["n"]) == ("idp", "idp_gain", 200)


def test_the_best_of_equal_prompts_is_no_better_than_any():
    """Were it chosen on the questions that it is compared on, it would be ahead by luck."""
    rng, fair, naive = np.random.default_rng(1), [], []
    for _ in range(150):
        single = rng.random((4, 200)) < 0.5
        tables = [pandas.DataFrame({"question": PEOPLE, "person": PEOPLE, "correct": right}) for right in single]
        tables = [table.assign(passage="", subject="") for table in tables]
        fair.append(best_on_the_other_half(tables)["correct"].mean())
        naive.append(single.mean(axis=1).max())
    assert np.mean(fair) == pytest.approx(0.5, abs=0.01) and np.mean(naive) > 0.53


def test_each_half_is_answered_by_the_prompt_that_is_best_on_the_other():
    halves = np.array([half(person) for person in PEOPLE])
    short, long = halves == "half_a", halves == "half_b"
    best = best_on_the_other_half([answers_of((*CELL, "x"), right, person=PEOPLE) for right in (short, long)])
    assert len(best) == 200 and best["correct"].sum() == 0


def test_a_study_without_dynamic_prompts_has_no_row():
    assert idp_gain(answered(short=np.ones(200)), {}).empty
