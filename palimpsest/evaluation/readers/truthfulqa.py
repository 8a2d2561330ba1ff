"""TruthfulQA (Lin et al., arXiv:2109.07958), multiple choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import Record, records
from palimpsest.provenance import PalimpsestError


def truthfulqa(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a question. `targets: mc1`: one true option against all false ones. `targets: mc2`: all true options, named
    in `true_options`, and all false ones. The best answer stands first.

    Reads the authors' TruthfulQA.csv, whose options become sentences as their code makes them, or the hub's Parquet
    (truthfulqa/truthful_qa, multiple_choice). An option that is listed twice counts once.
    """
    targets = settings["targets"]
    for record in records(folder, settings["files"]):
        if "Best Answer" in record:
            true, false = _from_csv(record, targets)
        else:
            found = record.need(f"{targets}_targets")
            pairs = list(zip(found["choices"], found["labels"], strict=True))
            true, false = ([choice for choice, label in pairs if label == kind] for kind in (1, 0))
        true = list(dict.fromkeys(true))
        false = [option for option in dict.fromkeys(false) if option not in true]
        if not true or not false:
            raise PalimpsestError(f"{record.place}: {len(true)} true and {len(false)} false options; each is needed.")
        more = {"true_options": true} if targets == "mc2" else {}
        subset = {"subset": record["Category"]} if record.get("Category") else {}
        question = record.need("Question", "question")
        yield record.row(question=question, options=true + false, label=0, **more, **subset)


def _from_csv(record: Record, targets: str) -> tuple[list[str], list[str]]:
    best = _sentence(record.need("Best Answer"))
    true = [best, *_sentences(record.need("Correct Answers"))] if targets == "mc2" else [best]
    return true, _sentences(record.need("Incorrect Answers"))


def _sentences(answers: str) -> list[str]:
    return [_sentence(answer) for answer in answers.split(";") if answer.strip()]


def _sentence(answer: str) -> str:
    answer = answer.strip()
    return answer if answer.endswith(".") else f"{answer}."
