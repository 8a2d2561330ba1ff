"""The `data` rule: the folder of one task, with its lm-eval YAML and its rows, checked one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from palimpsest.evaluation import definition
from palimpsest.evaluation.readers import READERS, files
from palimpsest.provenance import PalimpsestError, atomic_folder, verify_folder

GROUPS = ("subset", "form", "person", "passage", "subject")  # optional: what groups a question


def write_task(
    task: str, output_folder: str | Path, world: str | Path | None = None, root: str | Path | None = None
) -> None:
    """Write `<task>.yaml` and `<task>.jsonl`.

    Args:
        task: name of a YAML file in palimpsest/evaluation/tasks.
        output_folder: the artifact folder. The YAML names the rows by this path, for plain `lm_eval --include_path`.
        world: folder of the generated world, for its tasks.
        root: where relative folders of data are looked for; PALIMPSEST_DATA if it is not given.
    """
    output_folder = Path(output_folder)
    wanted = definition.shipped(task)
    settings = definition.ours(wanted)
    rows = [row for _, row in checked(_source(task, settings, world, root), settings.get("required", []))]
    wanted["dataset_kwargs"] = {"data_files": {"test": (output_folder / f"{task}.jsonl").as_posix()}}
    with atomic_folder(output_folder) as folder:
        (folder / f"{task}.yaml").write_text(
            yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        with open(folder / f"{task}.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_task(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Definition and rows of a task's folder, both checked; the rows lie beside the YAML, wherever that is."""
    folder = Path(folder)
    verify_folder(folder)
    task = folder.name
    wanted = definition.read(folder / f"{task}.yaml")
    required = definition.ours(wanted).get("required", [])
    return wanted, [row for _, row in checked(files.json_lines(folder / f"{task}.jsonl"), required)]


def checked(
    rows: Iterable[tuple[str, dict[str, Any]]], required: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pass rows on, each with a unique id and everything that its task needs."""
    required = ["id", *(field for field in required if field != "id")]
    seen: dict[str, str] = {}
    for place, row in rows:
        for field in required:
            _check_field(place, row, field)
        for field in GROUPS:
            if field in row and not isinstance(row[field], str):
                raise PalimpsestError(f"{place}: the field {field!r} is {row[field]!r}; it must be a string.")
        if row["id"] in seen:
            raise PalimpsestError(
                f"{place}: the id {row['id']!r} is that of {seen[row['id']]} too. Each question needs its own."
            )
        if "options" in required and row["answer"] not in row["options"]:
            raise PalimpsestError(f"{place}: the answer {row['answer']!r} is none of the options {row['options']}.")
        seen[row["id"]] = place
        yield place, row
    if not seen:
        raise PalimpsestError("a task without rows: there is nothing to ask. Look at the file the rows come from.")


def _check_field(place: str, row: dict[str, Any], field: str) -> None:
    if field not in row:
        raise PalimpsestError(
            f"{place}: the field {field!r} is missing. The row has {', '.join(sorted(row)) or 'no field'}."
        )
    value = row[field]
    if field == "options":
        if not isinstance(value, list) or len(value) < 2 or not all(isinstance(option, str) for option in value):
            raise PalimpsestError(
                f"{place}: the field 'options' is {value!r}; it must be a list of two strings or more."
            )
        if len(set(value)) < len(value):
            raise PalimpsestError(f"{place}: the field 'options' has the same option twice: {value}.")
        if not all(option.strip() for option in value):
            raise PalimpsestError(f"{place}: the field 'options' has an empty option: {value}.")
    elif not isinstance(value, str):
        raise PalimpsestError(f'{place}: the field {field!r} is {value!r}; it must be a string (write "{value}").')
    elif not value.strip():
        raise PalimpsestError(f"{place}: the field {field!r} is empty.")


def _source(task: str, settings: dict[str, Any], world: str | Path | None, root: str | Path | None) -> files.Rows:
    if settings.get("source") == "world":
        if world is None:
            raise PalimpsestError(
                f"task {task}: its rows come from a world, and the study has none. "
                "Add a `world:` section, or drop the task."
            )
        rows = files.json_lines(Path(world) / "tasks" / f"{task}.jsonl")
    elif settings.get("source") == "folder" and settings.get("reader") in READERS:
        rows = READERS[settings["reader"]](_folder(task, settings["path"], root), settings)
    else:
        raise PalimpsestError(
            f"task {task}: metadata.palimpsest does not say where its rows come from. Write `source: world`, or "
            f"`source: folder` with `path:` and `reader:` ({', '.join(READERS)})."
        )
    right, wrong = settings.get("pair", (None, None))
    for place, row in rows:
        if right is not None:
            for field in ("id", right, wrong):
                _check_field(place, row, field)
            rest = {field: value for field, value in row.items() if field not in (right, wrong)}
            row = rest | files.in_fixed_order(row["id"], row[right], row[wrong])
        yield place, row


def _folder(task: str, path: str, root: str | Path | None) -> Path:
    root = root or os.environ.get("PALIMPSEST_DATA")
    if not os.path.isabs(path) and not root:
        raise PalimpsestError(
            f"task {task}: its data, {path}, is looked for under PALIMPSEST_DATA, which is not set. "
            f"Write e.g. `export PALIMPSEST_DATA=/data` (for /data/{path})."
        )
    folder = Path(root or "", path)
    if not folder.is_dir():
        raise PalimpsestError(
            f"task {task}: there is no folder {folder}. "
            f"Set PALIMPSEST_DATA to the folder that holds {path} (now {root})."
        )
    return folder
