"""What a doubling of a prompt's length changes is the slope of a line through all prompts of a cell."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from test_analysis_answers import answers_of

from palimpsest.analysis.arms import UNTRAINED, Arm
from palimpsest.analysis.prompt_length import FEWEST, per_doubling, prompt_tokens

CELL = ("atlas", "rtn", "rtn", "2", 0)
VARIANT = ["model", "label", "method", "level", "seed", "recovery"]
SCORING = {"closed_book": ("generated", "exact_match"), "perplexity": ("likelihood", "perplexity")}
PEOPLE = [f"p{number:03}" for number in range(400)]
LENGTHS = {"one": 1, "four": 4, "four-again": 4, "many": 64}


def lengths(of):
    rows = [(*CELL, name, value) for name, value in of.items()]
    return pandas.DataFrame(rows, columns=[*VARIANT, "value"])


def answered(shares, seed=0):
    rng = np.random.default_rng(seed)
    knows = rng.random(400)
    return pandas.concat(
        [answers_of((*CELL, name), knows < share, person=PEOPLE) for name, share in shares.items()], ignore_index=True
    )


def row(table, **parts):
    found = table[(table[list(parts)] == list(parts.values())).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def test_the_slope_is_that_of_numpys_line_through_the_shares():
    answers = answered({"one": 0.3, "four": 0.45, "four-again": 0.4, "many": 0.7})
    found = row(per_doubling(answers, lengths(LENGTHS), SCORING, {}), metric="per_doubling", subset="all")
    shares = answers.groupby("recovery")["correct"].mean()
    expected = np.polyfit([np.log2(value) for value in LENGTHS.values()], [shares[name] for name in LENGTHS], 1)[0]
    assert found["value"] == pytest.approx(expected) and found["recovery"] == "none" and found["n"] == 400
    assert found["low"] > 0 and found["high"] < 2 * expected


def test_prompts_that_know_the_same_share_of_other_people_are_not_told_apart():
    rng = np.random.default_rng(1)
    holds = 0
    for _ in range(60):
        answers = pandas.concat(
            [answers_of((*CELL, name), rng.random(400) < 0.5, person=PEOPLE) for name in LENGTHS], ignore_index=True
        )
        found = row(per_doubling(answers, lengths(LENGTHS), SCORING, {}), metric="per_doubling", subset="all")
        holds += found["low"] <= 0 <= found["high"]
    assert holds >= 52, "95 % of 60, less what chance allows once in a thousand"


def test_perplexity_that_falls_by_a_tenth_with_every_doubling_is_found():
    rng = np.random.default_rng(2)
    tokens = rng.integers(20, 60, 80)
    noise = rng.normal(0, 0.05, 80)
    text = {"task": "perplexity", "passage": [f"t{number}" for number in range(80)], "tokens": tokens}
    answers = pandas.concat(
        [
            answers_of(
                (*CELL, name), [np.nan] * 80, score=-tokens * (np.log(8) + noise + np.log2(n) * np.log(0.9)), **text
            )
            for name, n in LENGTHS.items()
        ]
    )
    found = row(per_doubling(answers, lengths(LENGTHS), SCORING, {}), metric="perplexity_per_doubling", subset="all")
    assert found["value"] == pytest.approx(0.9) and found["low"] == pytest.approx(0.9) == found["high"]


def test_two_lengths_make_no_line_nor_does_a_third_that_was_never_trained():
    answers = answered(dict.fromkeys(LENGTHS, 0.5))
    assert len({1, 4}) < FEWEST
    assert per_doubling(answers, lengths({"one": 1, "four": 4, "four-again": 4}), SCORING, {}).empty
    assert per_doubling(answers, lengths(LENGTHS), SCORING, {"many": Arm(UNTRAINED)}).empty
    assert per_doubling(answers, lengths(LENGTHS), SCORING, {"many": Arm(seen="U", unseen="R")}).empty


def test_a_budget_has_the_length_that_its_folder_says(tmp_path):
    methods = {"prompt-4k": "prompt", "prefix-4k": "prefix"}

    def variant(name):
        row = dict(zip(VARIANT, (*CELL, name), strict=True))
        return SimpleNamespace(row=row, recovery=name, folder=lambda results: f"{results}/prompt-4k")

    grid = SimpleNamespace(
        variants=lambda: [variant(name) for name in ("none", *methods)],
        recoveries={name: SimpleNamespace(method=method) for name, method in methods.items()},
    )
    folder = tmp_path / "prompt-4k/adapter"
    folder.mkdir(parents=True)
    (folder / "recovery.json").write_text(json.dumps({"options": {"budget": 4096, "tokens": 32}}))
    table = prompt_tokens(tmp_path, grid)
    assert table[["recovery", "metric", "value"]].values.tolist() == [["prompt-4k", "prompt_tokens", 32.0]]
