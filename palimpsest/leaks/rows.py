"""A task's rows as words: what is asked and what counts as right, without the prompt that is put around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from palimpsest.evaluation.readers import files
from palimpsest.leaks.overlap import Row, unframed, words

# Fields of a row, in the order in which they are looked for; tasks of lm-eval's registry name them in many ways.
QUESTION = ("question", "question_stem", "premise", "sentence1", "goal", "begin", "prompt", "query", "ctx")
SECOND = ("hypothesis", "sentence2")  # of a pair
TEXT = ("text", "page", "sentence", "content")
ANSWER = ("answers", "answer", "target", "correct_answer", "best_answer")
LABEL = ("label", "gold", "answerKey", "answer")  # the number or letter of the right option
OPTIONS = ("choices", "options", "endings")


def read_rows(folder: Path | str) -> list[Row]:
    """The rows of a task's folder; one that is neither a question nor a text is everything that it says."""
    folder = Path(folder)
    return [Row(str(raw.get("id", number)), *_question_and_answers(raw)) for number, raw in enumerate(_raw(folder))]


def _raw(folder: Path) -> Iterable[Mapping[str, Any]]:
    jsonl = folder / f"{folder.name}.jsonl"
    if jsonl.exists():
        return [row for _, row in files.json_lines(jsonl)]
    import pandas

    # A task of lm-eval's registry: the first split is the one that is asked.
    said = yaml.safe_load((folder / f"{folder.name}.yaml").read_text(encoding="utf-8"))
    return pandas.read_parquet(folder / f"{said['splits'][0]}.parquet").to_dict("records")


def _question_and_answers(row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    question = next((row[name] for name in QUESTION if isinstance(row.get(name), str) and row[name].strip()), "")
    answers = [said for answer in _answers(row) if (said := words(answer))]
    if question:
        second = next((row[name] for name in SECOND if isinstance(row.get(name), str)), "")
        return unframed(words(f"{question} {second}")), tuple(answers)
    text = next((row[name] for name in TEXT if isinstance(row.get(name), str)), None)
    if text is not None:
        return (), (words(text),)
    return (), (tuple(answers[:1]) or (words(" ".join(map(str, row.values()))),))


def _answers(row: Mapping[str, Any]) -> list[str]:
    """Every answer that counts, or the option that is right."""
    options = next((found for name in OPTIONS if (found := _texts(row.get(name)))), [])
    choices = row.get("choices")
    letters = list(choices["label"]) if isinstance(choices, Mapping) and "label" in choices else []
    for name in LABEL if options else ():
        label = row.get(name)
        if label in letters:
            return [options[letters.index(label)]]
        if str(label).isdecimal() and int(label) < len(options):
            return [options[int(label)]]
    answers = [text for name in ("answer", "aliases", *ANSWER) for text in _texts(row.get(name))]
    return list(dict.fromkeys(answers))


def _texts(value: Any) -> list[str]:
    """The strings of a field: itself, its list, or the text of lm-eval's nested choices."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return _texts(value.get("text", value.get("aliases")))
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | tuple) else []
