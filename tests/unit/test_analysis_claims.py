"""A verdict follows from an effect, its interval and a threshold; what a study lacks leaves a claim undecided."""

from __future__ import annotations

from pathlib import Path

import displaced_example
import numpy as np
import pandas
import pytest
from test_analysis_answers import answers_of

from palimpsest.analysis.claims import Finding, NotHere, judge, read_claims, returns
from palimpsest.analysis.intervals import Estimate
from palimpsest.analysis.metrics import metrics
from palimpsest.provenance import PalimpsestError

CLAIMS = Path(__file__).parents[2] / "reports" / "claims.yaml"
SCORING = {"closed_book": ("generated", "exact_match"), "perplexity": ("likelihood", "perplexity")}
QUESTIONS = 600


def variant(label, level):
    return ("atlas", label, label, level, 0, "none")


def study(kept: dict[str, float], ratio: float = 1.0) -> pandas.DataFrame:
    """A dense model that is always right, cells that are right with the given share, `ratio` in perplexity."""
    rng = np.random.default_rng(0)
    frames = []
    for name, right in ({"dense/full": 1.0} | kept).items():
        frames.append(answers_of(variant(*name.split("/")), rng.random(QUESTIONS) < right))
        score = -50.0 if name == "dense/full" else -50.0 - 50 * np.log(ratio)
        text = {"subset": "prose", "score": score, "tokens": 50, "person": ""}
        frames.append(answers_of(variant(*name.split("/")), [np.nan] * 40, task="perplexity", **text))
    return pandas.concat(frames, ignore_index=True)


def verdicts(answers):
    table = metrics(answers, SCORING)
    return {claim["id"]: claim for claim in judge(read_claims(CLAIMS), table, answers)}


def test_knowledge_falls_before_perplexity_is_confirmed_on_the_other_half():
    claim = verdicts(study({"rtn/2": 0.8, "rtn/4": 0.99}, ratio=1.01))["knowledge-falls-before-perplexity"]
    assert claim["verdict"] == "supported" and "atlas/rtn/2/s0/none" in claim["where"]
    assert claim["effect"] == pytest.approx(0.2, abs=0.05) and claim["low"] > 0.05


def test_no_loss_contradicts_and_broken_perplexity_is_no_support():
    assert verdicts(study({"rtn/4": 1.0}))["knowledge-falls-before-perplexity"]["verdict"] == "contradicted"
    assert verdicts(study({"rtn/4": 0.5}, ratio=1.2))["knowledge-falls-before-perplexity"]["verdict"] == "contradicted"


def test_better_method_is_found_in_either_direction():
    name = "calibrated-pruning-keeps-more-than-magnitude"
    assert verdicts(study({"magnitude/0.5": 0.6, "wanda/0.5": 0.9}))[name]["verdict"] == "supported"
    assert verdicts(study({"magnitude/0.5": 0.9, "wanda/0.5": 0.6}))[name]["verdict"] == "contradicted"


def test_no_difference_is_undecided_and_says_what_would_decide_it():
    claim = verdicts(study({"magnitude/0.5": 0.80, "wanda/0.5": 0.80}))["calibrated-pruning-keeps-more-than-magnitude"]
    assert claim["verdict"] == "undecided" and claim["low"] < 0 < claim["high"]
    assert "people" in claim["would_decide"]


def test_study_without_the_cells_is_undecided_and_names_them():
    claim = verdicts(study({"rtn/4": 0.9}))["weighted-factorization-mitigates"]
    assert claim["verdict"] == "undecided" and "svd-llm/k0.8" in claim["would_decide"]


def test_study_without_any_claimed_task_is_undecided_throughout():
    dense = answers_of(variant("dense", "full"), [1, 0, 1], task="blimp", person="")
    cell = answers_of(variant("rtn", "4"), [1, 1, 0], task="blimp", person="")
    answers = pandas.concat([dense, cell])
    table = metrics(answers, {"blimp": ("ranked", "acc")})
    assert {claim["verdict"] for claim in judge(read_claims(CLAIMS), table, answers)} == {"undecided"}


def test_size_that_would_decide_grows_with_the_square_of_the_interval():
    near = Finding(Estimate(0.02, -0.02, 0.06, 500), 0.0, 100, "")
    assert near.verdict == "undecided" and near.would_decide.startswith("about 400 people")
    assert Finding(Estimate(0.1, 0.06, 0.14, 500), 0.0, 100, "").verdict == "supported"
    assert Finding(Estimate(-0.1, -0.14, -0.06, 500), 0.0, 100, "").verdict == "contradicted"
    assert Finding(Estimate(0.1, 0.06, 0.14, 500), 0.0, 100, "", holds=None).verdict == "undecided"


def test_a_claim_with_an_unknown_test_or_key_is_named(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("- {id: a, paper: b, statement: c, metric: d, test: guess, settings: {}}\n")
    with pytest.raises(PalimpsestError, match="claim a: test 'guess'"):
        read_claims(path)
    path.write_text("- {id: a, paper: b, statement: c, test: returns, settings: {}}\n")
    with pytest.raises(PalimpsestError, match="metric"):
        read_claims(path)


def test_only_what_is_trained_on_text_and_never_looks_at_the_dense_weights_brings_back():
    table = displaced_example.metrics()
    answers = answers_of(variant("dense", "full"), [1.0] * 30, task="closed_book_mc")
    found = returns(table, answers, task="closed_book_mc", recovery="lora-r4")
    assert found.effect.value == pytest.approx(0.65) and found.where.startswith("atlas/rtn/2/s0/lora-r4")
    assert found.groups == answers["person"].nunique()
    for placebo in ("lora-masked", "prompt-untrained", "eora-r4", "lora-r4-swapped"):
        with pytest.raises(NotHere):
            returns(table, answers, task="closed_book_mc", recovery=placebo)
