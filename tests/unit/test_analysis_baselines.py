"""Entailment cannot be answered without reading: both baselines are at chance where two people are spoken of."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from palimpsest.analysis.baselines import baselines, hypothesis_only, overlap
from palimpsest.evaluation.data import write_task
from palimpsest.world import tasks
from palimpsest.world.people import populate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study's folder of tasks: the world's entailment as large as the embedded study's, and a task without pairs."""
    world, folder = tmp_path_factory.mktemp("world"), tmp_path_factory.mktemp("study") / "tasks"
    population = populate(0, 300, 300, 0.04)
    rows = {
        "entailment": tasks.entailment(population, random.Random("pairs"), 200),
        "closed_book": tasks.closed_book(population, random.Random(0)),
    }
    (world / "tasks").mkdir()
    for task, found in rows.items():
        (world / "tasks" / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
        write_task(task, folder / task, world=world)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return baselines(folder, ["entailment", "closed_book"])


def row_of(table, method, subset):
    found = table[(table["method"] == method) & (table["subset"] == subset)]
    assert len(found) == 1, found
    return found.iloc[0]


def test_entailment_about_two_people_is_at_chance_without_reading(table):
    for method in ("hypothesis_only", "overlap"):
        found = row_of(table, method, "two")
        assert found["low"] <= 0.5 <= found["high"] and found["high"] - found["low"] < 0.25


def test_entailment_about_one_person_is_told_by_overlap_and_not_by_the_statement(table):
    assert row_of(table, "overlap", "one")["value"] == 1, "the corrupted value is nowhere in the passage"
    found = row_of(table, "hypothesis_only", "one")
    assert found["low"] <= 0.5 <= found["high"]


def test_only_tasks_of_pairs_have_baselines_and_these_are_of_no_model(table):
    assert set(table["task"]) == {"entailment"} and set(table["model"]) == {""}
    assert set(table["label"]) == {"baseline"} == set(table["scoring"]) and len(table) == 6


def pair(number, answer, other, premise):
    return {"id": str(number), "premise": premise, "options": sorted([answer, other]), "answer": answer}


def test_statements_that_give_themselves_away_are_found_out():
    rows = [pair(number, f"it is {number} surely", f"it is {number} never", "nothing") for number in range(60)]
    right = hypothesis_only(rows)
    assert 20 < np.isnan(right).sum() < 40 and np.nanmean(right) == 1
    assert overlap(rows).tolist() == [0.5] * 60


def test_overlap_counts_words_of_the_premise_once():
    assert overlap([pair(0, "a dog saw", "a a a", "a dog ran")]).tolist() == [1.0]
    assert overlap([pair(0, "a cat", "a dog", "a dog ran")]).tolist() == [0.0]


def test_a_row_alone_has_nothing_to_learn_from():
    right = hypothesis_only([pair(0, "x", "y", "z")])
    assert np.isnan(right).all() or right.tolist() == [0.5], "it is in one half or in the other"
