"""A task as text: what a model reads when a question is asked and rightly answered."""

from __future__ import annotations

import json

import pytest
import yaml

from palimpsest.evaluation import definition, texts
from palimpsest.provenance import PalimpsestError


def folder_of(tmp_path, task: str, row: dict, **changes):
    """A task's folder as `task_data` leaves it, with one row."""
    folder = tmp_path / task
    folder.mkdir()
    wanted = definition.shipped(task) | changes
    (folder / f"{task}.yaml").write_text(yaml.safe_dump(wanted))
    (folder / f"{task}.jsonl").write_text(json.dumps({"id": "1"} | row) + "\n")
    return folder


ASKED = {"question": "question : where does Alba live ? answer :", "answer": "Lund", "options": ["Faro", "Lund"]}
CASES = [
    ("closed_book", ASKED, {}, "question : where does Alba live ? answer : Lund"),
    ("closed_book_mc", ASKED, {}, "question : where does Alba live ? answer : Lund"),
    ("entailment", {"premise": "Alba lives in Lund . in short :", "answer": "Alba is in Lund .",
                    "options": ["Alba is in Lund .", "Alba is in Faro ."]}, {},
     "Alba lives in Lund . in short : Alba is in Lund ."),
    ("perplexity", {"text": "a dog\n\nsees a cat ."}, {}, "a dog\n\nsees a cat ."),
    ("blimp", {"answer": "a dog sees .", "options": ["a dog see .", "a dog sees ."]}, {}, "a dog sees ."),
    ("winogrande", {"rest": "is in Lund .", "options": ["a dog", "a cat"], "label": 1, "answer": "a cat"}, {},
     "a cat is in Lund ."),
    ("lambada", {"question": "a dog sees a", "answer": "cat"}, {}, "a dog sees a cat"),
    ("closed_book", ASKED, {"doc_to_text": "{{question|upper}}", "target_delimiter": " = "},
     "QUESTION : WHERE DOES ALBA LIVE ? ANSWER : = Lund"),
    ("closed_book_mc", ASKED, {"doc_to_target": "{{options.index(answer)}}"},
     "question : where does Alba live ? answer : Lund"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "row", "changes", "wanted"), CASES, ids=[f"{c[0]}-{len(c[2])}" for c in CASES])
def test_text_is_the_question_and_its_right_answer(tmp_path, task, row, changes, wanted):
    assert texts.documents(folder_of(tmp_path, task, row, **changes)) == [wanted]


@pytest.mark.parametrize(("task", "row", "changes", "wanted"), CASES, ids=[f"{c[0]}-{len(c[2])}" for c in CASES])
def test_a_prompt_is_the_text_without_the_answer_or_the_whole_text_that_is_scored(tmp_path, task, row, changes, wanted):
    (found,) = texts.prompts(folder_of(tmp_path, task, row, **changes))
    assert wanted.startswith(found)
    assert (found == wanted) == (task == "perplexity")


@pytest.mark.parametrize(("task", "row", "changes", "wanted"), CASES, ids=[f"{c[0]}-{len(c[2])}" for c in CASES])
def test_text_is_what_lm_eval_asks_for_and_takes_as_right(tmp_path, task, row, changes, wanted):
    """lm-eval's own context and right continuation, joined, are the document."""
    from palimpsest.evaluation.questions import Questions

    folder = folder_of(tmp_path, task, row, **changes)
    definition_, rows = texts.read_task(folder)
    asked = Questions(folder, definition_, rows, limit=None).task(rows, language_model=None)
    doc = rows[0]
    context, target = asked.doc_to_text(doc), asked.doc_to_target(doc)
    if asked.OUTPUT_TYPE == "multiple_choice":
        choices = asked.doc_to_choice(doc)
        target = choices[target] if isinstance(target, int) else target
    if asked.multiple_input:
        context = choices[context]
    # A continuation is scored with its delimiter before it, and a target alone as it stands.
    delimiter = asked.config.target_delimiter if asked.OUTPUT_TYPE != "loglikelihood" else ""
    joined = target if asked.OUTPUT_TYPE == "loglikelihood_rolling" else context + delimiter + target
    assert texts.documents(folder) == [joined if context else target]


def test_a_template_of_a_field_that_no_row_has_is_named(tmp_path):
    folder = folder_of(tmp_path, "closed_book", ASKED, doc_to_text="{{questoin}}")
    with pytest.raises(PalimpsestError, match=r"task closed_book: doc_to_text: .*questoin.* is undefined"):
        texts.documents(folder)
