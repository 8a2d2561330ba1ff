"""Choices among prompts are counted, and the oracle's facts are picked by forms on which it is not scored."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
from test_analysis_answers import answers_of, row_of

from palimpsest.analysis import about_facts, choices, metrics
from palimpsest.analysis.answers import read_questions
from palimpsest.provenance import PalimpsestError

CELL = ("tiny", "wanda", "wanda", "0.5", 0)
IDP, SHORT, LONG = ((*CELL, name) for name in ("idp", "short", "long"))
FORMS = ("select", "select", "score", "score", "score")


@pytest.fixture
def tasks(tmp_path):
    """60 people, one fact each, asked in two forms that select and three that score."""
    rows = [
        {
            "id": f"q{number}",
            "person": f"p{number // 5:02}",
            "attribute": "town",
            "use": FORMS[number % 5],
            "options": [],
        }
        for number in range(300)
    ]
    (tmp_path / "closed_book").mkdir()
    (tmp_path / "closed_book" / "closed_book.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def oracles(answers, folder, *names):
    asked = about_facts.asked(answers, dict.fromkeys(names or ["closed_book"], ("generated", "exact_match")), folder)
    return choices.oracles(asked, {"idp": ["short", "long"]})


def by_person(correct):
    """Rows of answers to the questions of `tasks`, one list of five a person."""
    people = [f"p{number // 5:02}" for number in range(300)]
    return {"correct": np.asarray(correct, dtype=float).ravel(), "person": people}


def test_shares_and_margins_are_those_of_the_answers():
    measures = [json.dumps({"choice": prompt, "margin": margin, "truncated": 1}) for prompt, margin in
                [("short", 0.1), ("long", 0.3), ("long", 0.2), ("long", 0.0)]]  # fmt: skip
    answers = pandas.concat([answers_of(IDP, [1, 0, 1, 1], measures=measures), answers_of(SHORT, [1, 0, 1, 1])])
    table = choices.choices(answers)
    assert row_of(table, metric="choice_share", subset="long")[["value", "n", "recovery"]].tolist() == [0.75, 4, "idp"]
    assert row_of(table, metric="choice_share", subset="short")["value"] == 0.25
    assert row_of(table, metric="choice_margin", subset="all")["value"] == pytest.approx(0.15)
    assert set(metrics.measures(answers)["metric"]) == {"truncated"}, "a prompt's name is no number"


def test_a_choice_without_scores_has_no_margin():
    answers = answers_of(IDP, [1, 0], measures=['{"choice": "short"}'] * 2)
    assert set(choices.choices(answers)["metric"]) == {"choice_share"}


def oracle_by_hand(short, long):
    """Accuracy on the last three forms, person by person."""
    short, long = np.asarray(short), np.asarray(long)
    overall = "long" if long[:, :2].mean() > short[:, :2].mean() else "short"
    right = []
    for one, other in zip(short, long, strict=True):
        a, b = one[:2].sum(), other[:2].sum()
        prompt = overall if a == b else "short" if a > b else "long"
        right += list((one if prompt == "short" else other)[2:])
    return np.mean(right)


def test_the_oracle_is_picked_on_selection_forms_and_scored_on_the_others(tasks):
    rng = np.random.default_rng(0)
    knows = rng.random((60, 1))
    short, long = (rng.random((60, 5)) < share for share in (0.2 + 0.6 * (knows > 0.5), 0.3 + 0.6 * (knows < 0.5)))
    idp = np.where(rng.random((60, 1)) < 0.5, short, long)
    answers = pandas.concat(
        [answers_of(name, **by_person(correct)) for name, correct in ((IDP, idp), (SHORT, short), (LONG, long))]
    )
    table = oracles(answers, tasks)
    assert set(table["recovery"]) == {"idp"} and set(table["subset"]) == {"scored forms"} and set(table["n"]) == {180}
    value = table.set_index("metric")["value"]
    assert value["oracle"] == pytest.approx(oracle_by_hand(short, long))
    best = max((short, long), key=lambda correct: correct[:, :2].mean())
    assert value["best_prompt"] == pytest.approx(best[:, 2:].mean())
    assert value["chosen"] == pytest.approx(idp[:, 2:].mean())
    assert value["oracle_minus_best_prompt"] == pytest.approx(value["oracle"] - value["best_prompt"])
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_luck_on_the_selection_forms_gives_the_oracle_nothing(tasks):
    """Two prompts that are right at random: picked by their luck they seem better than either, scored elsewhere not."""
    rng = np.random.default_rng(1)
    found, lucky = [], []
    for _ in range(20):
        short, long = rng.random((2, 60, 5)) < 0.5
        answers = pandas.concat(
            [answers_of(name, **by_person(correct)) for name, correct in ((IDP, short), (SHORT, short), (LONG, long))]
        )
        questions = read_questions(tasks, "closed_book")
        single = {name: answers[answers["recovery"] == name] for name in ("short", "long")}
        shares = choices.selection_shares(single, questions)
        found.append(choices.oracle(single, questions, shares)["correct"].mean())
        lucky.append(np.maximum(short[:, :2].mean(1), long[:, :2].mean(1)).mean())
    assert np.mean(lucky) > 0.6
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_one_task_selects_for_another_that_asks_for_the_same_facts(tasks):
    rows = [
        {"id": f"g{number}", "person": f"p{number:02}", "attribute": "town", "use": "score", "options": []}
        for number in range(60)
    ]
    (tasks / "generated").mkdir()
    (tasks / "generated" / "generated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(2)
    short, long = rng.random((2, 60, 5)) < 0.5
    said = {name: rng.random(60) < 0.5 for name in (IDP, SHORT, LONG)}
    generated = {"question": [row["id"] for row in rows], "person": [row["person"] for row in rows]}
    answers = [answers_of(name, **by_person(correct)) for name, correct in ((IDP, short), (SHORT, short), (LONG, long))]
    answers += [answers_of(name, said[name], task="generated", **generated) for name in said]
    table = oracles(pandas.concat(answers), tasks, "generated", "closed_book")
    overall = SHORT if short[:, :2].mean() >= long[:, :2].mean() else LONG
    expected = [
        said[overall if a == b else SHORT if a > b else LONG][number]
        for number, (a, b) in enumerate(zip(short[:, :2].sum(1), long[:, :2].sum(1), strict=True))
    ]
    assert row_of(table, task="generated", metric="oracle")["value"] == pytest.approx(np.mean(expected))
    assert row_of(table, task="generated", metric="best_prompt")["value"] == pytest.approx(said[overall].mean())
    assert row_of(table, task="closed_book", metric="oracle")["value"] == pytest.approx(oracle_by_hand(short, long))


def test_tasks_without_selection_forms_are_passed_over(tasks):
    text = (tasks / "closed_book" / "closed_book.jsonl").read_text().replace('"select"', '"score"')
    (tasks / "closed_book" / "closed_book.jsonl").write_text(text)
    answers = answers_of(IDP, **by_person(np.ones((60, 5))))
    assert oracles(answers, tasks).empty


def test_a_prompt_that_was_not_evaluated_by_itself_is_named(tasks):
    answers = pandas.concat([answers_of(name, **by_person(np.ones((60, 5)))) for name in (IDP, SHORT)])
    with pytest.raises(PalimpsestError, match=r"tiny/wanda/0\.5/s0/long does not answer closed_book"):
        oracles(answers, tasks)


def test_a_variant_says_by_which_options_it_chooses():
    from palimpsest.grid import Grid
    from palimpsest.settings import Study

    training = {"text": "recovery_R"}
    prompts = {name: {"method": "prompt", "training": training, "cells": ["atlas/rtn/2"]} for name in ("a", "b")}
    idp = {"method": "idp", "of": ["a", "b"], "cells": ["atlas/rtn/2"]}
    study = Study.model_validate({
        "name": "test", "world": {}, "compression": {"rtn": {"levels": ["2"]}}, "tasks": ["closed_book"],
        "models": {"atlas": {"source": "world", "architecture": {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}}},
        "recovery": prompts | {
            "idp": idp | {"options": {"layer": 1}},
            "other": idp | {"options": {"choose": "random", "seed": 3}},
        },
    })  # fmt: skip
    found = choices.rules(Grid(study)).set_index("recovery")["subset"]
    assert found.to_dict() == {"idp": "default", "other": "choose: random, seed: 3"}
