"""Data sets whose records are questions with options: HellaSwag, ARC, SciQ, PIQA, BoolQ, WinoGrande; and LAMBADA.

Each reads its authors' files and the hub's. Prompts are lm-eval's (the task files); what lm-eval does to a record in
Python is done here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import records
from palimpsest.provenance import PalimpsestError


def hellaswag(folder: Path, settings: dict[str, Any]) -> Rows:
    """HellaSwag (Zellers et al., arXiv:1905.07830): how does it go on? Without WikiHow's brackets, as in lm-eval.

    Files whose `ctx` is the activity with the context already (no `ctx_a`) are taken as they stand.
    """
    for record in records(folder, settings["files"]):
        if "ctx_a" in record:
            context = f"{record.need('activity_label')}: {record['ctx_a']} {record.need('ctx_b').capitalize()}"
        else:
            context = record.need("ctx")
        yield record.row(
            subset=record.get("split_type") or "",
            question=_without_brackets(context),
            options=[_without_brackets(ending) for ending in record.need("endings")],
            label=int(record.need("label")),
        )


def _without_brackets(text: str) -> str:
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def arc(folder: Path, settings: dict[str, Any]) -> Rows:
    """ARC (Clark et al., arXiv:1803.05457): questions of science for schools, mostly with four options."""
    for record in records(folder, settings["files"]):
        question, choices = record.need("question"), record.get("choices")
        if isinstance(question, dict):
            question, choices = question["stem"], question["choices"]
        if isinstance(choices, list):
            choices = {key: [choice[key] for choice in choices] for key in ("text", "label")}
        if choices is None:
            record.need("choices")
        letters = {letter: number for number, letter in enumerate(choices["label"])}
        yield record.row(
            id=record.need("id"),
            question=question,
            options=choices["text"],
            label=record.label(letters, "answerKey"),
        )


def sciq(folder: Path, settings: dict[str, Any]) -> Rows:
    """SciQ (Welbl et al., arXiv:1707.06209): science, with a passage that supports the answer where there is one."""
    for record in records(folder, settings["files"]):
        options = [record.need(field) for field in ("distractor1", "distractor2", "distractor3", "correct_answer")]
        support = record.get("support", "").lstrip()
        yield record.row(support=support, question=record.need("question"), options=options, label=3)


def piqa(folder: Path, settings: dict[str, Any]) -> Rows:
    """PIQA (Bisk et al., arXiv:1911.11641). The authors' labels lie in a file of their own, `<file>-labels.lst`."""
    for record in records(folder, settings["files"]):
        if "label" not in record:
            record["label"] = _label_beside(folder, record.name, record.number)
        options = [record.need("sol1"), record.need("sol2")]
        yield record.row(question=record.need("goal"), options=options, label=int(record.need("label")))


def _label_beside(folder: Path, name: str, number: int) -> str | None:
    path = folder / f"{name}-labels.lst"
    labels = path.read_text(encoding="utf-8").split() if path.exists() else []
    return labels[number - 1] if number <= len(labels) else None


def boolq(folder: Path, settings: dict[str, Any]) -> Rows:
    """BoolQ (Clark et al., arXiv:1905.10044): is it so, by the passage?"""
    truth = {"False": 0, "True": 1, "0": 0, "1": 1}
    for record in records(folder, settings["files"]):
        yield record.row(
            passage=record.need("passage"),
            question=record.need("question"),
            options=["no", "yes"],
            label=record.label(truth, "label", "answer"),
        )


def winogrande(folder: Path, settings: dict[str, Any]) -> Rows:
    """WinoGrande (Sakaguchi et al., arXiv:1907.10641), by partial evaluation (Trinh and Le, arXiv:1806.02847): which
    name before it makes the rest of the sentence (`rest`) likelier?"""
    for record in records(folder, settings["files"]):
        sentence = record.need("sentence")
        before, blank, rest = sentence.partition("_")
        if not blank or not rest.strip():
            raise PalimpsestError(f"{record.place}: the sentence {sentence!r} has no _ with text behind it.")
        options = [before + record.need("option1"), before + record.need("option2")]
        identity = {"id": record["qID"]} if record.get("qID") else {}
        label = record.label({"1": 0, "2": 1}, "answer")
        yield record.row(**identity, rest=rest.strip(), options=options, label=label)


def lambada(folder: Path, settings: dict[str, Any]) -> Rows:
    """LAMBADA (Paperno et al., arXiv:1606.06031), as OpenAI formatted it: the last word of a passage."""
    for record in records(folder, settings["files"]):
        context, space, word = record.need("text").rpartition(" ")
        if not space:
            raise PalimpsestError(f"{record.place}: the text {word!r} has no last word after a space.")
        yield record.row(question=context, answer=word)
