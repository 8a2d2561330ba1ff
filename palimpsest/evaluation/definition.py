"""A task's definition: lm-eval's YAML, with what the `data` rule must know under `metadata.palimpsest`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from palimpsest.evaluation.readers import READERS
from palimpsest.evaluation.scorers import SCORERS
from palimpsest.provenance import PalimpsestError

SHIPPED = Path(__file__).parent / "tasks"
METRICS = {  # output type -> metrics that the analysis knows
    "generate_until": ("exact_match",),
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("acc", "perplexity"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}


def names() -> list[str]:
    """The tasks there are: the YAML files beside this module."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def shipped(task: str) -> dict[str, Any]:
    """The definition of a task by its name."""
    if task not in names():
        near = difflib.get_close_matches(task, names(), 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise PalimpsestError(
            f"there is no task {task!r}.{meant} There are {', '.join(names())}; a new one is a YAML file in {SHIPPED}."
        )
    return read(SHIPPED / f"{task}.yaml", has_rows=False)


def read(path: Path, has_rows: bool = True) -> dict[str, Any]:
    """A task's YAML as plain data: lm-eval's `!function` and `include`, which run and read other files, are refused."""
    try:
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PalimpsestError(f"{path}: not a task that is plain YAML ({' '.join(str(error).split())}).") from None
    except FileNotFoundError:
        raise PalimpsestError(
            f"{path}: there is no such task file. A task's folder holds <task>.yaml and <task>.jsonl."
        ) from None
    for problem in problems(path.stem, definition, has_rows):
        raise PalimpsestError(f"{path}: {problem}")
    return definition


def problems(name: str, definition: Any, has_rows: bool = False) -> Iterator[str]:
    """What keeps a task file from being asked, in the order of its keys; each says what would be right.

    `has_rows`: its rows lie beside it, so it need not say where to take them from.
    """
    if not isinstance(definition, dict):
        yield f"a {type(definition).__name__}; a task file is a mapping of keys, as in {SHIPPED / 'closed_book.yaml'}."
        return
    if "include" in definition:
        yield "the key 'include' is not supported. Write the whole task in this file."
    output_type = definition.get("output_type")
    needed = ["task", "output_type", "doc_to_text", "doc_to_target", "metric_list"]
    needed += [] if has_rows else ["metadata"]
    needed += ["doc_to_choice"] if output_type == "multiple_choice" else []
    for key in needed:
        if key not in definition:
            yield f"the key {key!r} is missing; an lm-eval task needs it."
            return
    if definition["task"] != name:
        yield f"task: {definition['task']!r}, but the file is named {name}. Write `task: {name}`."
    if output_type not in METRICS:
        yield f"output_type: {output_type!r} is none of {', '.join(METRICS)}.{_near(output_type, METRICS)}"
        return
    for entry in definition["metric_list"]:
        metric = entry.get("metric") if isinstance(entry, dict) else entry
        if metric not in METRICS[output_type]:
            yield f"metric_list: {metric!r} is no metric of {output_type}. Write {' or '.join(METRICS[output_type])}."
    metadata = definition.get("metadata")
    said = metadata.get("palimpsest") if isinstance(metadata, dict) else None
    if said is None and has_rows:
        return
    if not isinstance(said, dict) or said.get("source") not in ("world", "folder"):
        yield "metadata: write e.g. `metadata: {palimpsest: {source: world, required: [question, answer]}}`."
        return
    if said["source"] == "folder" and not (isinstance(said.get("path"), str) and said.get("reader") in READERS):
        readers = ", ".join(READERS)
        yield f"metadata.palimpsest: source: folder needs `path:` (under PALIMPSEST_DATA) and `reader:` {readers}."
    if (scorer := said.get("scorer")) is not None and scorer not in SCORERS:
        yield f"metadata.palimpsest.scorer: {scorer!r} is none of {', '.join(SCORERS)}.{_near(scorer, SCORERS)}"
    required = said.get("required")
    if not isinstance(required, list) or not required:
        yield "metadata.palimpsest.required: list the fields that every row must have, e.g. [question, answer]."
        return
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        field = definition.get(key, "")
        if isinstance(field, str) and field and "{{" not in field and field not in required:
            yield f"{key}: {field!r} is no field of `required` ({', '.join(required)}).{_near(field, required)}"


def _near(word: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(known), 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def ours(definition: dict[str, Any]) -> dict[str, Any]:
    """`metadata.palimpsest` of a definition."""
    return (definition.get("metadata") or {}).get("palimpsest") or {}


def is_probe(task: str) -> bool:
    """Whether a task's rows are questions for a probe, which no one answers."""
    return bool(ours(shipped(task)).get("probe"))
