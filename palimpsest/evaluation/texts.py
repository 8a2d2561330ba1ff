"""A task as text, as a model would read it: each question alone, or with its right answer (for a calibration)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.data import read_task
from palimpsest.provenance import PalimpsestError


def documents(folder: str | Path) -> list[str]:
    """One document a row of the task in `folder`: lm-eval's context, delimiter and target, by the task's own keys."""
    wanted, rows = read_task(folder)
    return [_document(wanted, row) for row in rows]


def prompts(folder: str | Path) -> list[str]:
    """What a model reads before it answers each row of the task in `folder`; the whole text where that is scored."""
    wanted, rows = read_task(folder)
    whole = wanted["output_type"] == "loglikelihood_rolling"
    return [_document(wanted, row) if whole else str(_question(wanted, row)) for row in rows]


def _document(wanted: dict[str, Any], row: dict[str, Any]) -> str:
    answer = _said(wanted, "doc_to_target", row)
    if wanted["output_type"] == "multiple_choice":
        answer = _option(_said(wanted, "doc_to_choice", row), answer)
    if wanted["output_type"] == "loglikelihood_rolling":
        return str(answer)
    question = _question(wanted, row)
    # A target that is scored as it stands brings its own delimiter.
    delimiter = "" if wanted["output_type"] == "loglikelihood" else wanted.get("target_delimiter", " ")
    return f"{question}{delimiter}{answer}" if question else str(answer)


def _question(wanted: dict[str, Any], row: dict[str, Any]) -> Any:
    question = _said(wanted, "doc_to_text", row)
    # A number is that of the option that is the context (WinoGrande).
    return _said(wanted, "doc_to_choice", row)[question] if isinstance(question, int) else question


def _said(wanted: dict[str, Any], key: str, row: dict[str, Any]) -> Any:
    """What a key of the task says of a row: the field of that name, else a list as it stands or a Jinja template."""
    value = wanted[key]
    if isinstance(value, str) and value in row:
        return row[value]
    if not isinstance(value, str):
        return value
    from jinja2 import StrictUndefined, UndefinedError
    from jinja2.sandbox import SandboxedEnvironment

    try:
        return SandboxedEnvironment(undefined=StrictUndefined).from_string(value).render(**row)
    except UndefinedError as error:
        raise PalimpsestError(f"task {wanted['task']}: {key}: {value!r} of row {row['id']}: {error}.") from None


def _option(options: Any, answer: Any) -> Any:
    """lm-eval's answer to a choice is an option or its number."""
    if answer in options or not str(answer).isdecimal():
        return answer
    return options[int(answer)]
