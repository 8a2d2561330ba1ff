"""Questions with a short answer and its aliases: FreebaseQA, TriviaQA with its passages, and sets of plain records."""

from __future__ import annotations

import bisect
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, read_text
from palimpsest.evaluation.readers.records import matching, records
from palimpsest.provenance import PalimpsestError

QUARTERS = ("rarest quarter", "second quarter", "third quarter", "most popular quarter")
PASSAGES = 3072  # characters of evidence that a prompt has room for, as published


def factoid(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a record; `fields` says which of its fields is what, with dots for nested ones.

    `question` and `answers` (a list; the first is shown as gold) must be there. `id` is the file's name and line if it
    is not given, `form` the relation that is asked for. With `popularity`, a number, the subset is the quarter of the
    questions that it falls into.
    """
    fields, found = settings["fields"], []
    for record in records(folder, settings["files"]):
        place = record.place
        question = _field(place, record, fields["question"], str)
        row = _question(place, question, _field(place, record, fields["answers"], list))
        row |= {name: _field(place, record, fields[name], str) for name in ("id", "form") if name in fields}
        if "popularity" in fields:
            row["popularity"] = _field(place, record, fields["popularity"], int | float)
        found.append(record.row(**row))
    if "popularity" in fields and len(found) > 1:
        cuts = statistics.quantiles([row["popularity"] for _, row in found], n=len(QUARTERS))
        for _, row in found:
            row["subset"] = QUARTERS[bisect.bisect_left(cuts, row["popularity"])]
    yield from found


def freebaseqa(folder: Path, settings: dict[str, Any]) -> Rows:
    """The `first` questions of FreebaseQA's file; the aliases are those of the first parse's first answer, as scored by
    LLM-KICK."""
    for path in matching(folder, settings["files"]):
        try:
            questions = json.loads(read_text(path))["Questions"]
        except (ValueError, KeyError, TypeError) as error:
            raise PalimpsestError(f"{path}: not FreebaseQA's JSON, an object with 'Questions' ({error!r}).") from None
        for number, question in enumerate(questions[: settings.get("first")]):
            place = f"{path}, question {number + 1}"
            answers = _field(place, question, "Parses.0.Answers.0.AnswersName", list)
            row = _question(place, _field(place, question, "RawQuestion", str), answers)
            yield place, {"id": _field(place, question, "Question-ID", str)} | row


def triviaqa(folder: Path, settings: dict[str, Any]) -> Rows:
    """TriviaQA with its passages (configuration `rc` of the hub): `context` is the first Wikipedia page and the first
    page of the search, cut to as many characters as published."""
    for record in records(folder, settings["files"]):
        place, pages = record.place, []
        for field in ("entity_pages.wiki_context", "search_results.search_context"):
            pages += _field(place, record, field, list)[:1]
        if not pages:
            raise PalimpsestError(f"{place}: the question has no passage; the task is to read one.")
        aliases = _field(place, record, "answer.normalized_aliases", list)
        row = _question(place, _field(place, record, "question", str), aliases)
        row |= {"id": _field(place, record, "question_id", str), "answer": _field(place, record, "answer.value", str)}
        yield record.row(**row, context="".join(pages)[:PASSAGES].lstrip())


def _question(place: str, question: str, answers: list) -> dict[str, Any]:
    for answer in answers:
        if not isinstance(answer, str) or not answer.strip():
            raise PalimpsestError(
                f"{place}: the answer {answer!r} is empty or no string; it would match what says nothing."
            )
    if not answers:
        raise PalimpsestError(f"{place}: the question has no answer.")
    return {"question": question, "answer": answers[0], "aliases": list(dict.fromkeys(answers))}


def _field(place: str, record: Mapping[str, Any], path: str, kind: Any) -> Any:
    """What lies at `a.b.0.c` in a record."""
    value: Any = record
    for step in path.split("."):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise PalimpsestError(f"{place}: the field {path!r} is missing. There are {', '.join(sorted(record))}.")
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = getattr(kind, "__name__", "number")
        raise PalimpsestError(f"{place}: the field {path!r} is {value!r}; it must be a {wanted}.")
    return value
