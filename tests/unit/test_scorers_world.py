"""Answers that are judged by the world's grammar and by where they come from."""

from __future__ import annotations

import json

import pytest
from transformers import AutoModelForCausalLM

import palimpsest
from palimpsest.evaluation import definition
from palimpsest.evaluation.data import write_task
from palimpsest.evaluation.scorers import SCORERS
from palimpsest.evaluation.scorers.biography import biography
from palimpsest.evaluation.scorers.sources import value_source
from palimpsest.provenance import PalimpsestError

ALBA = {"id": "Alba", "person": "Alba", "facts": {"town": "Turin", "trade": "baker"}}
TRUE = "lives in Turin . Alba works as a baker ."


def judged(text, row=ALBA):
    return biography(row, "Alba", text)


def test_a_true_biography_is_right_in_any_order_and_form():
    for text in (
        TRUE,
        "was trained as a baker . people visit Alba in Turin .",
        "can be found in Turin . Alba works as a baker .",
    ):
        found = judged(text)
        assert found.correct and found.measures == {
            "well_formed": 1, "about": 1, "true": 1, "complete": 1, "fluent_but_wrong": 0,
        }  # fmt: skip


def test_one_wrong_value_in_good_form_is_fluent_but_wrong():
    found = judged("lives in Riga . Alba works as a baker .")
    assert found.correct is False
    assert found.measures == {"well_formed": 1, "about": 1, "true": 0.5, "complete": 0.5, "fluent_but_wrong": 1}


def test_broken_form_is_not_fluent():
    found = judged("lives in baker . Alba works as a baker .")
    assert found.correct is False
    assert found.measures == {"well_formed": 0.5, "about": 1, "true": 1, "complete": 0.5, "fluent_but_wrong": 0}


def test_what_is_said_of_somebody_else_is_neither_true_nor_false():
    found = judged("lives in Turin . Miro works as a clerk .")
    assert found.correct is False
    assert found.measures == {"well_formed": 1, "about": 0.5, "true": 1, "complete": 0.5, "fluent_but_wrong": 0}


def test_to_say_one_thing_twice_is_no_biography():
    found = judged("lives in Turin . the home of Alba is in Turin .")
    assert found.correct is False and found.measures["true"] == 1 and found.measures["complete"] == 0.5
    assert found.measures["fluent_but_wrong"] == 0


def test_what_training_never_said_is_not_true_even_if_it_is():
    assert judged("lives in Turin . Alba was born in 1951 .").measures["true"] == 0.5


def test_only_as_many_sentences_are_judged_as_training_wrote():
    assert judged(TRUE + " question : who pays Alba").correct
    assert judged(TRUE + " Alba lives in Riga .").correct


def test_a_biography_that_is_cut_off_is_not_well_formed():
    found = judged("lives in Turin . Alba works as a")
    assert found.correct is False and found.measures["well_formed"] == 0.5
    assert judged("lives in Turin .").correct is False, "one statement of two is half a biography"


def test_no_statement_at_all_has_no_share_of_true_ones():
    found = judged("Alba Alba Alba")
    assert found.measures == {"well_formed": 0, "complete": 0, "fluent_but_wrong": 0} and found.correct is False
    assert judged("").answer == "Alba"


@pytest.mark.parametrize("row", [{"id": "q"}, ALBA | {"facts": {}}, ALBA | {"facts": "Turin"}, ALBA | {"person": ""}])
def test_a_biography_without_facts_is_refused(row):
    with pytest.raises(PalimpsestError, match=r"a biography is judged by its row's `person` and `facts`"):
        judged(TRUE, row)


ASKED = {"id": "q", "answer": "Lund", "options": ["Lund", "Faro", "Riga", "Turin"]}
ASKED |= {"sources": {"learned": ["Faro"], "copied": ["Riga"]}}


@pytest.mark.parametrize(
    ("text", "correct", "source"),
    [
        (" Lund", True, None),
        (" Faro", False, "learned"),
        (" Riga", False, "copied"),
        (" Turin", False, "other"),
        (" a house", False, "no_value"),
        ("", False, "no_value"),
    ],
)
def test_an_answer_comes_from_one_place(text, correct, source):
    found = value_source(ASKED, "", text)
    assert found.correct is correct
    assert found.measures == {name: float(name == source) for name in ("learned", "copied", "other", "no_value")}


def test_where_no_value_is_right_nothing_is_judged():
    row = ASKED | {"answer": "unknown", "sources": {"copied": ["Riga"]}}
    assert value_source(row, "", " Riga").correct is None and value_source(row, "", " Riga").measures["copied"] == 1
    assert value_source(row, "", " Lund").measures == {"copied": 0, "other": 1, "no_value": 0}


def test_a_row_that_says_no_sources_is_refused():
    with pytest.raises(PalimpsestError, match=r"question 'q': .*`sources`"):
        value_source({"id": "q", "answer": "Lund", "options": ["Lund"]}, "", "Lund")


def test_the_tasks_name_the_scorers_that_there_are():
    named = {"biography": "biography", "open_book_absent": "value_source", "open_book_contradiction": "value_source"}
    assert {task: definition.ours(definition.shipped(task))["scorer"] for task in named} == named
    assert SCORERS["biography"] is biography and SCORERS["value_source"] is value_source


def test_measures_of_generated_answers_reach_the_table(tiny_model_folder, tiny_tokenizer, tmp_path):
    (tmp_path / "world" / "tasks").mkdir(parents=True)
    rows = {
        "biography": [ALBA | {"begin": "Alba", "answer": "Alba lives in Turin ."}],
        "open_book_absent": [ASKED | {"answer": "unknown", "question": "question : where does Alba live ? answer :"}],
    }
    for task, lines in rows.items():
        (tmp_path / "world" / "tasks" / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        write_task(task, tmp_path / "tasks" / task, world=tmp_path / "world")
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    table = palimpsest.evaluate(model, tiny_tokenizer, tasks=list(rows), data=tmp_path / "tasks").set_index("task")
    assert "well_formed" in json.loads(table.loc["biography", "measures"])
    assert table["correct"].isna().to_dict() == {"biography": False, "open_book_absent": True}
    assert set(json.loads(table.loc["open_book_absent", "measures"])) == {"learned", "copied", "other", "no_value"}
