"""A question that a calibration or recovery text says with its answer is found and named; what is not there is not."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pandas
import presentation_example as example
import pytest

from palimpsest import calibration
from palimpsest.evaluation import definition
from palimpsest.grid import Grid
from palimpsest.leaks import study as guard
from palimpsest.leaks.overlap import Index, Row, unframed, words
from palimpsest.leaks.rows import read_rows
from palimpsest.presentation import names, report, tables
from palimpsest.presentation.data import Tables
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import Study

DATA = os.environ.get("PALIMPSEST_DATA")
LONG = "In which small town on the northern coast was the painter Alba Reus born and raised?"


def row(name: str, question: str, *answers: str) -> Row:
    return Row(name, words(question), tuple(map(words, answers)))


def found(rows, *documents, task="quiz"):
    return Index({task: rows}).found_in(documents)[task]


def test_words_are_compared_without_case_and_punctuation():
    assert words("“Who's there?” — said É. Müller, 1,500 times") == words("WHO S THERE said é müller 1 500 times")


def test_question_with_its_answer_is_contained_and_without_it_overlaps():
    asked = [row("a", LONG, "Lund"), row("b", "How many rivers cross the old market of the second town?", "two")]
    both = found(asked, f"Quiz night! {LONG.upper()} The right answer: Lund.")
    assert both.contained == {"a"} and both.overlapping == {"a": 0.9}  # one n-gram holds the answer
    alone = found(asked, f"{LONG} Nobody knows.")
    assert not alone.contained and set(alone.overlapping) == {"a"}


def test_answer_before_its_question_or_in_another_document_is_no_answer():
    asked = [row("a", LONG, "Lund")]
    assert not found(asked, f"Lund is a town. {LONG}").contained
    assert not found(asked, LONG, "Lund").contained


def test_answer_is_a_word_and_not_part_of_one():
    assert not found([row("a", LONG, "Lund")], f"{LONG} In Lundby.").contained


def test_every_alias_counts():
    assert found([row("a", LONG, "Lund", "Londinium Gothorum")], f"{LONG} Londinium Gothorum").contained == {"a"}


def test_seven_words_in_a_row_are_no_overlap_and_eight_are():
    asked = [row("a", LONG, "Lund")]
    spoken = words(LONG)
    assert not found(asked, " ".join(spoken[2:9])).overlapping
    assert set(found(asked, " ".join(spoken[2:10])).overlapping) == {"a"}


def test_short_question_overlaps_only_as_a_whole():
    asked = [row("a", "Who painted the Night Watch?", "Rembrandt")]
    assert not found(asked, "He painted the Night Watch, Rembrandt did").overlapping
    said = found(asked, "Who painted the Night Watch? I wonder.")
    assert said.overlapping == {"a": 1.0} and not said.contained
    assert found(asked, "Who painted the night watch? Rembrandt").contained == {"a"}


def test_evaluated_text_is_contained_whole_or_as_the_text_that_a_window_was_cut_from():
    story = " ".join(f"word{number}" for number in range(200))
    asked = [row("story", "", story), row("other", "", " ".join(f"else{number}" for number in range(200)))]
    assert found(asked, f"before {story} after").contained == {"story"}
    window = "rd20 " + " ".join(f"word{number}" for number in range(21, 60)) + " wor"
    assert found(asked, window).contained == {"story"}
    assert not found(asked, f"{window} and something else that is not in the story at all").contained


def test_fifty_words_in_a_row_are_a_copy():
    story = " ".join(f"word{number}" for number in range(200))
    asked = [row("story", "", story)]
    for many, contained in ((49, set()), (50, {"story"})):
        part = " ".join(f"word{number}" for number in range(100, 100 + many))
        assert found(asked, f"someone else wrote this and then {part} and went on").contained == contained


def test_wording_that_the_tasks_questions_share_is_not_an_overlap():
    frame = "please read the following question and answer it with one single word"
    asked = [row(str(number), f"{frame} what is number{number} times seven", str(number)) for number in range(20)]
    assert not found(asked, f"{frame} which day is it").overlapping
    assert len(found(asked[:5], f"{frame} which day is it").overlapping) == 5  # five rows are too few to tell


def test_words_around_a_question_that_say_what_it_is_are_taken_off():
    assert unframed(words("question : where does Ida live ? answer :")) == words("where does Ida live")
    assert unframed(words("Q: Where? A:")) == ("where",) and unframed(()) == ()


def test_planted_rows_and_no_others_are_found_among_thousands():
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(3000)]

    def sentence(length):
        return " ".join(rng.choices(vocabulary, k=length))

    asked = [row(str(number), sentence(12), sentence(1)) for number in range(1000)]
    planted = rng.sample(asked, 7)
    documents = [sentence(40) for _ in range(1000)]
    for at, leaked in enumerate(planted):
        documents[at * 100] += " " + " ".join(leaked.question) + " answer " + " ".join(leaked.answers[0])
    result = found(asked, *documents)
    assert result.contained == {leaked.id for leaked in planted} == set(result.overlapping)


def write_task(folder: Path, *rows: dict) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{folder.name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return folder


def test_rows_of_every_kind_of_task_are_read(tmp_path):
    kinds = {
        "generated": ({"id": "1", "question": "Who?", "answer": "Al Ba", "aliases": ["Al Ba", "Bo"]},
                      ("who",), (("al", "ba"), ("bo",))),
        "letters": ({"id": "1", "question": "Why?", "choices": ["x", "y"], "options": ["A", "B"], "label": 1},
                    ("why",), (("y",),)),
        "endings": ({"id": "1", "question": "Begin", "options": ["one end", "two ends"], "label": 0},
                    ("begin",), (("one", "end"),)),
        "pair": ({"id": "1", "premise": "A cat sat.", "hypothesis": "It sat.", "options": ["True", "No"], "label": 0},
                 ("a", "cat", "sat", "it", "sat"), (("true",),)),
        "text": ({"id": "1", "text": "Some text."}, (), (("some", "text"),)),
        "minimal": ({"id": "1", "options": ["a good", "a bad"], "answer": "a good"}, (), (("a", "good"),)),
    }  # fmt: skip
    for name, (raw, question, answers) in kinds.items():
        assert read_rows(write_task(tmp_path / name, raw)) == [Row("1", question, answers)], name


def test_rows_of_lm_evals_own_tasks_are_read_from_the_split_that_is_asked(tmp_path):
    folder = tmp_path / "arc_easy"
    folder.mkdir()
    definition.write(folder / "arc_easy.yaml", {
        "task": "arc_easy", "output_type": "multiple_choice", "doc_to_text": "", "doc_to_target": "",
        "metric_list": ["acc"], "num_fewshot": 0, "splits": ["test", "train"], "dataset_path": "allenai/ai2_arc",
        "metadata": {"palimpsest": {"source": "lm_eval", "lm_eval": "0.4.13"}},
    })  # fmt: skip
    choices = {"text": ["the Sun", "the Moon"], "label": ["A", "B"]}
    rows = [{"id": "Mercury_7", "question": "Which star is nearest?", "choices": choices, "answerKey": "A"}]
    pandas.DataFrame(rows).to_parquet(folder / "test.parquet")
    expected = Row("Mercury_7", words("which star is nearest"), (("the", "sun"),))
    assert read_rows(folder) == [expected]


@pytest.fixture
def leaking(tmp_path, tiny_model_folder):
    """A study's folder whose calibration says one of its task's questions, and whose recovery text another."""
    secret = "question where does Kori likes and works ? answer Lund"
    documents = [secret, *(f"Alba sees the old {colour} house ." for colour in ("red", "blue", "green", "grey"))]
    results = tmp_path / "leaky"
    calibration.draw(calibration.task_text("x", documents), tiny_model_folder, results / "calibration/tiny/text/s0",
                     samples=5, length=32)  # fmt: skip
    (results / "models").mkdir()
    (results / "models" / "tiny").symlink_to(tiny_model_folder)
    (tmp_path / "recovery.txt").write_text("what colour is the river ? blue\nMiro likes the river .\n")
    write_task(results / "tasks" / "quiz",
               {"id": "kori", "question": "Where does Kori likes and works?", "answer": "Lund"},
               {"id": "river", "question": "What colour is the river?", "answer": "blue"},
               {"id": "clean", "question": "Who was born in Faro, a baker?", "answer": "Ida"})  # fmt: skip
    (tmp_path / "text.txt").write_text("\n".join(documents))
    study = Study.model_validate({
        "name": "leaky", "models": {"tiny": {"source": "folder", "path": str(tiny_model_folder)}},
        "calibration": {"text": {"text": {"path": str(tmp_path / "text.txt")}, "samples": 5, "length": 32}},
        "compression": {"wanda": {"levels": ["0.5"]}},
        "recovery": {"lora": {"method": "lora", "training": {"text": {"path": str(tmp_path / "recovery.txt")}},
                              "cells": ["tiny/wanda/0.5"]}},
        "tasks": ["blimp"],
    })  # fmt: skip
    return results, Grid(study)


def test_planted_leaks_of_a_study_are_found_named_and_warned_of(leaking, capsys):
    results, grid = leaking
    guard.write(results, grid, ["quiz"], results / "leaks.csv")
    table = pandas.read_csv(results / "leaks.csv", keep_default_na=False).set_index("use")
    assert list(table.index) == ["calibration", "recovery"]
    assert list(table["contained"]) == [1, 1] and list(table["worst"]) == ["kori", "river"]
    assert table.loc["calibration", "text"] == "text" and table.loc["recovery", "contained_share"] == pytest.approx(
        1 / 3
    )
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 2 and warned[0].startswith("warning: 1 of 3 questions or texts of quiz occur whole")
    assert "text of calibration text, e.g. kori" in warned[0] and "recovery" in warned[1] and "river" in warned[1]


def test_a_text_that_is_not_there_is_named(leaking):
    results, grid = leaking
    Path(grid.study.recovery["lora"].training.text.path).unlink()
    with pytest.raises(PalimpsestError, match=r"recovery\.txt: there is no such file"):
        guard.write(results, grid, ["quiz"], results / "leaks.csv")


def test_report_warns_of_a_leak_and_says_where_there_is_none(tmp_path):
    folder = example.write(tmp_path / "example")
    columns = ["generic", "closed_book", 600, 40, 40 / 600, 12, 0.02, "Alba/town/q3; Alba/trade/q3"]
    leaks = pandas.DataFrame([["calibration", *columns]], columns=guard.COLUMNS)

    def section():
        leaks.to_csv(folder / "leaks.csv", index=False)
        return next(each for each in report.sections(Tables(folder)) if each.id == "leaks")

    assert section().sentences[0].startswith("Warning: the text of calibration generic has 12 of the 600 rows of")
    assert "Alba/town/q3" in section().sentences[0] and section().tables == ["leaks"]
    made = tables.make("leaks", Tables(folder))
    assert made.rows[0]["contained"] == 12 and made.rows[0]["text"] == "calibration generic"
    leaks["contained"] = 0
    assert section().sentences == ["No text has a question with its answer in it, nor a text that is evaluated."]


def test_a_study_that_reads_no_text_has_nothing_to_guard():
    def study(**compression):
        return Study.model_validate({
            "name": "x", "models": {"tiny": {"source": "folder", "path": "/x"}}, "tasks": ["blimp"],
            "calibration": {"random": {"text": "random"}}, "compression": compression,
        })  # fmt: skip

    assert "leaks" not in names.table_names(study(rtn={"levels": ["4"]}))
    assert "leaks" in names.table_names(study(wanda={"levels": ["0.5"]}))


@pytest.mark.skipif(
    not DATA or not Path(DATA, "data/nq_open/NQ-open.dev.jsonl").is_file(), reason="PALIMPSEST_DATA has no data/nq_open"
)
def test_real_questions_that_were_planted_in_real_text_are_found_and_nothing_else():
    raw = [json.loads(line) for line in Path(DATA, "data/nq_open/NQ-open.dev.jsonl").read_text().splitlines()][:1000]
    asked = [row(str(number), each["question"], *each["answer"]) for number, each in enumerate(raw)]
    text = Path(DATA, "data/wikitext2/test.txt").read_text(encoding="utf-8").splitlines()
    assert not found(asked, *text).overlapping
    planted = random.Random(0).sample(asked, 5)
    leaked = [f"{' '.join(each.question)}? {' '.join(each.answers[0])}." for each in planted]
    assert found(asked, *text, *leaked).contained == {each.id for each in planted}
