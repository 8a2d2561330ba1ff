"""A task's definition: lm-eval's YAML, with what the `data` rule must know under `metadata.palimpsest`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from palimpsest.provenance import PalimpsestError

SHIPPED = Path(__file__).parent / "tasks"
DATA = {"world", "folder"}


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
    return read(SHIPPED / f"{task}.yaml")


def read(path: Path) -> dict[str, Any]:
    """A task's YAML as plain data: lm-eval's `!function` and `include`, which run and read other files, are refused."""
    try:
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PalimpsestError(f"{path}: not a task that is plain YAML ({' '.join(str(error).split())}).") from None
    except FileNotFoundError:
        raise PalimpsestError(
            f"{path}: there is no such task file. A task's folder holds <task>.yaml and <task>.jsonl."
        ) from None
    missing = {"task", "output_type", "doc_to_target"} - set(definition if isinstance(definition, dict) else ())
    if missing:
        raise PalimpsestError(f"{path}: the key {sorted(missing)[0]!r} is missing; an lm-eval task needs it.")
    if "include" in definition:
        raise PalimpsestError(f"{path}: the key 'include' is not supported. Write the whole task in this file.")
    return definition


def ours(definition: dict[str, Any]) -> dict[str, Any]:
    """`metadata.palimpsest` of a definition."""
    return (definition.get("metadata") or {}).get("palimpsest") or {}


def is_probe(task: str) -> bool:
    """Whether a task's rows are questions for a probe, which no one answers."""
    return bool(ours(shipped(task)).get("probe"))
