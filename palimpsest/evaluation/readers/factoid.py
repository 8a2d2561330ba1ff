"""Questions with a short answer and its aliases: FreebaseQA, TriviaQA with its passages, and sets of JSON lines."""

from __future__ import annotations

import bisect
import json
import statistics
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, find, json_lines, read_text
from palimpsest.provenance import PalimpsestError

QUARTERS = ("rarest quarter", "second quarter", "third quarter", "most popular quarter")
PASSAGES = 3072  # characters of evidence that a prompt has room for, as published


def factoid(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a line of `files`; `fields` says which of its fields is what, with dots for nested ones.

    `question` and `answers` (a list; the first is shown as gold) must be there. `id` is the file's name and line if it
    is not given. With `popularity`, a number, the subset is the quarter of the questions that it falls into.
    """
    fields, found = settings["fields"], []
    for place, line in _lines(folder, settings):
        path, _, number = place.rpartition(", line ")
        row = {"id": _field(place, line, fields["id"], str) if "id" in fields else f"{Path(path).stem}/{number}"}
        question = _field(place, line, fields["question"], str)
        row |= _question(place, question, _field(place, line, fields["answers"], list))
        if "subject" in fields:
            row["subject"] = _field(place, line, fields["subject"], str)
        if "popularity" in fields:
            row["popularity"] = _field(place, line, fields["popularity"], int | float)
        found.append((place, row))
    if "popularity" in fields and len(found) > 1:
        cuts = statistics.quantiles([row["popularity"] for _, row in found], n=len(QUARTERS))
        for _, row in found:
            row["subset"] = QUARTERS[bisect.bisect_left(cuts, row["popularity"])]
    yield from found


def freebaseqa(folder: Path, settings: dict[str, Any]) -> Rows:
    """The `first` questions of FreebaseQA's file; the aliases are those of the first parse's first answer, as scored by
    LLM-KICK."""
    for entry in settings["files"]:
        path = folder / entry["file"]
        try:
            questions = json.loads(read_text(path))["Questions"]
        except (ValueError, KeyError, TypeError) as error:
            raise PalimpsestError(f"{path}: not FreebaseQA's JSON, an object with 'Questions' ({error!r}).") from None
        for number, line in enumerate(questions[: settings.get("first")]):
            place = f"{path}, question {number + 1}"
            answers = _field(place, line, "Parses.0.Answers.0.AnswersName", list)
            yield (
                place,
                {"id": _field(place, line, "Question-ID", str)}
                | _question(place, _field(place, line, "RawQuestion", str), answers),
            )


def triviaqa(folder: Path, settings: dict[str, Any]) -> Rows:
    """TriviaQA with its passages (configuration `rc` of the hub, as JSON lines): `context` is the first Wikipedia page
    and the first page of the search, cut to as many characters as published."""
    for place, line in _lines(folder, settings):
        pages = [
            page
            for field in ("entity_pages.wiki_context", "search_results.search_context")
            for page in _field(place, line, field, list)[:1]
        ]
        if not pages:
            raise PalimpsestError(f"{place}: the question has no passage; the task is to read one.")
        row = _question(
            place, _field(place, line, "question", str), _field(place, line, "answer.normalized_aliases", list)
        )
        row["answer"] = _field(place, line, "answer.value", str)
        context = "".join(pages)[:PASSAGES].lstrip()
        yield place, {"id": _field(place, line, "question_id", str)} | row | {"context": context}


def _lines(folder: Path, settings: dict[str, Any]) -> Rows:
    entries = settings.get("files")
    for path in [folder / entry["file"] for entry in entries] if entries else find(folder, "*.jsonl"):
        yield from json_lines(path)


def _question(place: str, question: str, answers: list) -> dict[str, Any]:
    for answer in answers:
        if not isinstance(answer, str) or not answer.strip():
            raise PalimpsestError(
                f"{place}: the answer {answer!r} is empty or no string; it would match what says nothing."
            )
    if not answers:
        raise PalimpsestError(f"{place}: the question has no answer.")
    return {"question": question, "answer": answers[0], "aliases": list(dict.fromkeys(answers))}


def _field(place: str, line: Any, path: str, kind: Any) -> Any:
    """What lies at `a.b.0.c` in a line."""
    value = line
    for step in path.split("."):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise PalimpsestError(f"{place}: the field {path!r} is missing. The row has {', '.join(sorted(line))}.")
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = getattr(kind, "__name__", "number")
        raise PalimpsestError(f"{place}: the field {path!r} is {value!r}; it must be a {wanted}.")
    return value
