"""Whole studies, minutes each: what the README says of the embedded study, and a real checkpoint. `make test-long`."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path

import pandas
import pytest
from checkout import Checkout

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("embedded"))
    started = time.monotonic()
    done = checkout.run()
    assert done.returncode == 0, done.stdout[-8000:]
    checkout.wall_seconds = time.monotonic() - started
    checkout.results = checkout.folder / "results" / "embedded"
    return checkout


@pytest.fixture(scope="module")
def dense(embedded):
    """Share of right answers of a dense model by (task, subset)."""
    answers = pandas.read_parquet(embedded.results / "answers.parquet")
    answers = answers[(answers.label == "dense") & (answers.recovery == "none") & answers.correct.notna()]
    shares = answers.assign(correct=answers.correct.astype(float)).groupby(["model", "task", "subset"]).correct.mean()
    return lambda model, task, subset: shares[model, task, subset]


def test_embedded_study_keeps_its_budget(embedded):
    total = list(csv.DictReader((embedded.results / "times.csv").read_text().splitlines()))[-1]
    assert float(total["cpu_seconds"]) <= 1500
    assert float(total["import_share"]) < 1 / 3
    assert embedded.wall_seconds <= 15 * 60


def test_second_run_ends_within_ten_seconds_and_runs_no_job(embedded):
    started = time.monotonic()
    done = embedded.run()
    assert done.returncode == 0 and "Nothing to be done" in done.stdout
    assert time.monotonic() - started <= 10


def test_atlas_remembers_what_it_was_told_and_reads_what_it_is_given(dense):
    assert dense("atlas", "closed_book", "questions_shown") >= 0.95
    assert dense("atlas", "closed_book", "questions_held_out") >= 0.85
    assert dense("atlas", "open_book", "one") >= 0.95
    assert dense("atlas", "open_book", "three") >= 0.60


def test_facts_never_shown_are_at_chance(embedded):
    metrics = pandas.read_parquet(embedded.results / "metrics.parquet")
    rows = metrics[(metrics.label == "dense") & (metrics.subset == "never_shown") & (metrics.metric == "exact_match")]
    assert len(rows) == 2 and (rows.low <= 1 / 12).all()


def test_atlas_small_misses_at_least_15_percent_of_what_atlas_knows(embedded):
    answers = pandas.read_parquet(embedded.results / "answers.parquet")
    answers = answers[(answers.label == "dense") & (answers.task == "closed_book") & (answers.subset != "never_shown")]
    table = answers.pivot_table(index="question", columns="model", values="correct", aggfunc="first").astype(float)
    assert 1 - table.loc[table["atlas"] == 1, "atlas-small"].mean() >= 0.15


def test_perplexity_does_not_warn(embedded):
    claims = {claim["id"]: claim for claim in json.loads((embedded.results / "claims.json").read_text())}
    assert claims["knowledge-falls-before-perplexity"]["verdict"] == "supported"


@pytest.mark.skipif(
    "PALIMPSEST_DATA" not in os.environ, reason="PALIMPSEST_DATA names no folder with the real checkpoint"
)
def test_real_checkpoint_has_its_known_perplexities(tmp_path):
    checkout = Checkout(tmp_path)
    done = checkout.run("--configfile", "studies/stories.yaml", PALIMPSEST_DATA=os.environ["PALIMPSEST_DATA"])
    assert done.returncode == 0, done.stdout[-8000:]
    metrics = pandas.read_parquet(tmp_path / "results" / "stories" / "metrics.parquet")
    dense = metrics[(metrics.label == "dense") & (metrics.metric == "perplexity")].set_index(["task", "subset"]).value
    assert dense["perplexity_tinystories", "five"] == pytest.approx(3.55, abs=0.01)
    assert dense["perplexity_tinystories", "sample"] == pytest.approx(5.13, abs=0.01)
    assert dense["perplexity_wikitext2", "test"] == pytest.approx(220, rel=0.01)
    blimp = metrics[(metrics.label == "dense") & (metrics.task == "blimp")].set_index("subset").value
    known = {"determiner_noun_agreement_1": 0.71, "irregular_past_participle_verbs": 0.93}
    there = [name for name in known if (Path(os.environ["PALIMPSEST_DATA"]) / f"data/blimp/{name}.jsonl").exists()]
    assert {name: blimp[name] for name in there} == {name: pytest.approx(known[name], abs=0.01) for name in there}
    assert blimp["determiner_noun_agreement_irregular_1"] == pytest.approx(0.512, abs=0.005)


@pytest.mark.skipif(
    not Path(os.environ.get("PALIMPSEST_DATA", "/nowhere"), "models/stories260K").is_dir(),
    reason="PALIMPSEST_DATA has no models/stories260K",
)
def test_a_model_that_knows_nothing_of_the_world_answers_by_chance(tmp_path):
    checkout = Checkout(tmp_path)
    done = checkout.run("--configfile", "studies/real-tasks.yaml", PALIMPSEST_DATA=os.environ["PALIMPSEST_DATA"])
    assert done.returncode == 0, done.stdout[-8000:]
    results = tmp_path / "results" / "real-tasks"
    metrics = pandas.read_parquet(results / "metrics.parquet")
    dense = metrics[(metrics.label == "dense") & (metrics.subset == "all")].set_index(["task", "scoring", "metric"])
    for task in ("nq_open", "popqa", "triviaqa_closed", "gsm8k", "mmlu_generated"):
        assert dense.value[task, "generated", "exact_match"] <= 0.02, task
    for task in ("mmlu", "hellaswag", "truthfulqa_mc1", "pararel", "mnli", "snli", "sick", "cb", "rte", "qnli", "wnli"):
        lines = (results / "tasks" / task / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        said = pandas.Series([row["answer"] for row in rows]).value_counts(normalize=True)
        chance = sum(1 / len(row["options"]) for row in rows) / len(rows)
        found = dense.loc[(task, "ranked", "acc")]
        # Always the same answer is right as often as that answer is.
        assert any(found.low <= share <= found.high for share in [chance, *said[said > 0.05]]), task
    assert dense.value["perplexity_windows_wikitext2", "likelihood", "perplexity_512"] < 250
