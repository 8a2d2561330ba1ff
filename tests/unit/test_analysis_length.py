"""Length counts only where the dense model can read it, and as an interaction."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest

from palimpsest.analysis.answers import VARIANT, tidy
from palimpsest.analysis.length import interaction, interactions
from palimpsest.analysis.metrics import metrics

DENSE = ("tiny", "dense", "dense", "full", 0, "none")
CELL = ("tiny", "wanda", "wanda", "2:4", 0, "none")


def answers_of(variant, buckets, task="open_book_length"):
    """`buckets`: subset -> right or not, by passage."""
    rows = [
        {"question": f"{subset}/{number}", "passage": str(number), "subset": subset, "correct": right, "task": task}
        for subset, answered in buckets.items()
        for number, right in enumerate(answered)
    ]
    return tidy(pandas.DataFrame(rows).assign(**dict(zip(VARIANT, variant, strict=True))))


def value(table, metric, subset):
    found = table[(table["metric"] == metric) & (table["subset"] == subset)]
    assert len(found) == 1, found
    return found.iloc[0]


ALL = np.ones(40)


def share(right):
    return np.arange(40) < 40 * right


def test_the_interaction_is_the_loss_of_the_long_bucket_minus_that_of_the_short():
    dense = {"people=1": ALL, "people=4": ALL, "people=12": share(0.975)}
    cell = {"people=1": share(0.9), "people=4": share(0.2), "people=12": share(0.6)}
    table = interactions(pandas.concat([answers_of(DENSE, dense), answers_of(CELL, cell)]))
    found = value(table, "length_interaction", "people")
    assert found["value"] == pytest.approx((0.975 - 0.6) - (1 - 0.9)) and found["low"] < found["value"] < found["high"]
    assert (found["label"], found["level"], found["n"]) == ("wanda", "2:4", 40)


def test_a_bucket_that_the_dense_model_cannot_read_is_dropped_and_said_so():
    dense = {"words=16": ALL, "words=32": share(0.95), "words=64": share(0.9)}
    cell = {"words=16": share(0.9), "words=32": share(0.8), "words=64": share(0.1)}
    table = interactions(pandas.concat([answers_of(DENSE, dense), answers_of(CELL, cell)]))
    assert [value(table, "bucket_kept", f"words={words}")["value"] for words in (16, 32, 64)] == [1, 1, 0]
    assert value(table, "length_interaction", "words")["value"] == pytest.approx((0.95 - 0.8) - (1 - 0.9))


def test_a_dense_model_that_reads_one_length_gives_no_verdict():
    dense = {"people=1": ALL, "people=8": share(0.5)}
    table = interactions(pandas.concat([answers_of(DENSE, dense), answers_of(CELL, dense)]))
    found = value(table, "length_interaction", "people")
    assert math.isnan(found["value"]) and found["n"] == 0


def test_buckets_are_in_the_order_of_their_numbers_and_kinds_stay_apart():
    dense = {"people=2": ALL, "people=12": ALL, "words=16": ALL, "words=64": ALL}
    cell = {"people=2": ALL, "people=12": share(0.5), "words=16": share(0.5), "words=64": ALL}
    table = interactions(pandas.concat([answers_of(DENSE, dense), answers_of(CELL, cell)]))
    assert value(table, "length_interaction", "people")["value"] == pytest.approx(0.5)
    assert value(table, "length_interaction", "words")["value"] == pytest.approx(-0.5)


def test_other_subsets_are_no_lengths():
    table = interactions(pandas.concat([answers_of(v, {"one": ALL, "three": ALL}) for v in (DENSE, CELL)]))
    assert table.empty


def test_the_interaction_is_a_metric_of_the_study():
    buckets = {"people=1": ALL, "people=8": ALL}
    answers = pandas.concat([answers_of(DENSE, buckets), answers_of(CELL, buckets)])
    table = metrics(answers, {"open_book_length": ("generated", "exact_match")})
    found = table[table["metric"].isin(("length_interaction", "bucket_kept"))]
    assert len(found) == 3 and set(found["scoring"]) == {"generated"}


def test_equal_losses_are_taken_for_an_interaction_one_time_in_twenty():
    """Level costs 20 points in both lengths; a passage that is hard is hard in both (clustered)."""
    rng = np.random.default_rng(0)
    count, misses = 200, 0
    for _ in range(count):
        hard = rng.random(100) < 0.4
        lost = [(hard & (rng.random(100) < 0.5)) for _ in range(2)]
        pairs = pandas.DataFrame(
            {
                "subset": np.repeat(["people=1", "people=8"], 100),
                "cluster": np.tile([str(number) for number in range(100)], 2),
                "correct_a": 1.0,
                "correct_b": 1.0 - np.concatenate(lost),
            }
        )
        found = interaction(pairs, ["people=1", "people=8"])
        misses += not found.low <= 0 <= found.high
    assert misses / count <= 0.085, "two standard errors above 5 % of 200"


def test_no_loss_anywhere_is_not_certainty():
    answers = pandas.concat([answers_of(variant, {"words=16": ALL, "words=64": ALL}) for variant in (DENSE, CELL)])
    found = value(interactions(answers), "length_interaction", "words")
    assert found["value"] == 0 and found["low"] < -0.05 and found["high"] > 0.05


def test_buckets_of_different_passages_are_compared_as_two_samples():
    pairs = pandas.DataFrame({"subset": ["words=1"] * 40 + ["words=9"] * 60, "correct_a": 1.0})
    pairs["cluster"] = [f"passage {number}" for number in range(100)]
    pairs["correct_b"] = 1.0 - (np.arange(100) % 4 == 0)
    found = interaction(pairs, ["words=1", "words=9"])
    alone = [1.96 * np.sqrt(0.25 * 0.75 / n) for n in (40, 60)]
    assert found.value == 0 and found.high == pytest.approx(np.hypot(*alone), rel=0.1)
