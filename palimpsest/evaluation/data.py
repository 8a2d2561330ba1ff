"""The `data` rule: the folder of one task, with its lm-eval YAML and its rows, checked one by one."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from palimpsest.evaluation import definition, registered
from palimpsest.evaluation.readers import READERS, files
from palimpsest.evaluation.readers.files import NoSuchFile
from palimpsest.evaluation.readers.records import matching
from palimpsest.provenance import PalimpsestError, atomic_folder, digest_bytes, verify_folder

GROUPS = ("subset", "form", "person", "passage", "subject")  # optional: what groups a question
EXAMPLES = "dev"  # the split that few-shot examples come from, in the file <task>.dev.jsonl


def write_task(
    task: str,
    output_folder: str | Path,
    world: str | Path | None = None,
    root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write `<task>.yaml` and `<task>.jsonl`, and `<task>.dev.jsonl` where the task is asked with examples.

    Args:
        task: name of a YAML file in palimpsest/evaluation/tasks, or of a task of lm-eval's own registry.
        output_folder: the artifact folder. The YAML names the rows by this path, for plain `lm_eval --include_path`.
        world: folder of the generated world, for its tasks.
        root: where relative folders of data are looked for; PALIMPSEST_DATA if it is not given.
        options: what the study says of the task under `data` (settings.TaskData).
    """
    output_folder, options = Path(output_folder), dict(options or {})
    if definition.is_registered(task):
        registered.write_task(task, output_folder, options)
        return
    wanted = definition.with_options(definition.shipped(task), options)
    settings = definition.ours(wanted)
    examples = settings["fewshot"].get("hub", []) if wanted.get("num_fewshot") else []
    folder = _folder(wanted, world, root, options.get("revision"), examples)
    rows = [row for _, row in checked(_rows(folder, task, settings), settings.get("required", []))]
    if share := settings.get("training_share"):
        rows = [row for row in rows if not in_training(row, share)]
    splits = {"test": draw(rows, settings.get("rows"))}
    if wanted.get("num_fewshot"):
        splits[EXAMPLES] = _examples(folder, wanted, settings)
    _write(output_folder, wanted, splits)


def write_training(
    task: str,
    output_folder: str | Path,
    world: str | Path | None = None,
    root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write the rows that a classifier of a task is trained on, in a folder that `read_task` reads.

    The arguments are those of `write_task`. The rows are those that the task's file names under `classify: {train: …}`,
    or the share of its own rows that the study sets apart (`data: {<task>: {training_share: 0.5}}`) and then does not
    ask. At most `training_rows` of them, drawn by digest.
    """
    options = dict(options or {})
    wanted = definition.with_options(definition.shipped(task), options)
    settings = definition.ours(wanted)
    if "classify" not in settings:
        raise PalimpsestError(f"task {task}: no model can be fine-tuned for it: its file does not say `classify`.")
    train, share = settings["classify"]["train"], settings.get("training_share")
    folder = _folder(wanted, world, root, options.get("revision"), [] if share else train.get("hub", []))
    try:
        rows = _rows(folder, task, settings if share else settings | train)
        rows = [row for _, row in checked(rows, settings.get("required", []))]
    except NoSuchFile as error:
        raise _nothing_to_train_on(task, error) from None
    if share:
        rows = [row for row in rows if in_training(row, share)]
    _write(Path(output_folder), wanted, {"test": draw(rows, options.get("training_rows"))})


def check_training(task: str, options: Mapping[str, Any], root: str | Path | None = None) -> None:
    """Raise PalimpsestError where `write_training` would find no files."""
    settings = definition.ours(definition.with_options(definition.shipped(task), options))
    if settings["source"] == "folder" and "training_share" not in settings and options.get("revision") is None:
        try:
            matching(local_folder(task, settings, root), settings["classify"]["train"]["files"])
        except NoSuchFile as error:
            raise _nothing_to_train_on(task, error) from None


def _nothing_to_train_on(task: str, error: NoSuchFile) -> PalimpsestError:
    return PalimpsestError(
        f"task {task}: there is nothing to fine-tune on: {error} Put its training rows there, or set a share of the "
        f"task's own rows apart, which are then not asked: `data: {{{task}: {{training_share: 0.5}}}}`."
    )


def in_training(row: Mapping[str, Any], share: float) -> bool:
    """Whether a row is of the `share` that is set apart for training, by the digest of what it belongs to."""
    return int(digest_bytes(_group(row).encode())[:8], 16) < share * 16**8


def _write(output_folder: Path, wanted: dict[str, Any], splits: Mapping[str, list[dict[str, Any]]]) -> None:
    task = wanted["task"]
    names = {split: f"{task}.jsonl" if split == "test" else f"{task}.{split}.jsonl" for split in splits}
    wanted["dataset_kwargs"] = {
        "data_files": {split: (output_folder / name).as_posix() for split, name in names.items()}
    }
    with atomic_folder(output_folder) as temporary:
        definition.write(temporary / f"{task}.yaml", wanted)
        for split, name in names.items():
            with open(temporary / name, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in splits[split])


def read_task(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Definition and rows of a task's folder, both checked; the rows lie beside the YAML, wherever that is.

    A task of lm-eval's registry has no rows here: its data lies in Parquet files, which lm-eval's definition reads.
    """
    folder = Path(folder)
    verify_folder(folder)
    task = folder.name
    wanted = definition.read(folder / f"{task}.yaml")
    if definition.ours(wanted).get("source") == registered.SOURCE:
        return wanted, []
    return wanted, _read(folder / f"{task}.jsonl", wanted)


def read_examples(folder: str | Path, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few-shot examples of a task's folder, checked; none where it is asked without."""
    return _read(Path(folder) / f"{wanted['task']}.{EXAMPLES}.jsonl", wanted) if wanted.get("num_fewshot") else []


def _read(path: Path, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for _, row in checked(files.json_lines(path), definition.ours(wanted).get("required", []))]


def draw(rows: list[dict[str, Any]], most: int | None) -> list[dict[str, Any]]:
    """About `most` rows, by the digests of their groups: a fixed sample that a larger one contains.

    What belongs together (a person, a passage, a fact) is drawn whole, so there can be a few more.
    """
    if most is None or len(rows) <= most:
        return rows
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(_group(row), []).append(number)
    drawn: list[int] = []
    for group in sorted(groups, key=lambda name: digest_bytes(name.encode())):
        if len(drawn) >= most:
            break
        drawn += groups[group]
    return [rows[number] for number in sorted(drawn)]


def _group(row: Mapping[str, Any]) -> str:
    """What a row belongs to."""
    return row.get("person") or row.get("passage") or row["id"]


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
        if "options" in required:
            _check_answer(place, row)
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
    if field in LISTS:
        least = LISTS[field]
        if not isinstance(value, list) or len(value) < least or not all(isinstance(option, str) for option in value):
            many = "two strings or more" if least == 2 else "strings"
            raise PalimpsestError(f"{place}: the field {field!r} is {value!r}; it must be a list of {many}.")
        if not all(option.strip() for option in value):
            raise PalimpsestError(f"{place}: the field {field!r} has an empty option: {value}.")
    elif field == "label":
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(row.get("options", ())):
            raise PalimpsestError(
                f"{place}: the field 'label' is {value!r}; it must be the number of an option, counted from 0."
            )
    elif not isinstance(value, str):
        raise PalimpsestError(f'{place}: the field {field!r} is {value!r}; it must be a string (write "{value}").')
    elif not value.strip():
        raise PalimpsestError(f"{place}: the field {field!r} is empty.")


LISTS = {"options": 2, "choices": 2, "true_options": 1, "answers": 1}  # fields that are lists -> their least length


def _check_answer(place: str, row: dict[str, Any]) -> None:
    """Which option is right is clear: by its number, or because no other reads the same."""
    options = row["options"]
    if "label" not in row and len(set(options)) < len(options):
        raise PalimpsestError(f"{place}: the field 'options' has the same option twice: {options}.")
    if row.get("answer") not in options:
        raise PalimpsestError(f"{place}: the answer {row.get('answer')!r} is none of the options {options}.")


def _folder(
    wanted: dict[str, Any], world: str | Path | None, root: str | Path | None, revision: str | None, more: list[str]
) -> Path:
    """The folder that the rows are read from: the world's, one under PALIMPSEST_DATA, or a download from the hub.

    `more`: files of the hub besides those of the task's rows.
    """
    task, settings = wanted["task"], definition.ours(wanted)
    if settings.get("source") == "world":
        if world is None:
            raise PalimpsestError(
                f"task {task}: its rows come from a world, and the study has none. "
                "Add a `world:` section, or drop the task."
            )
        return Path(world) / "tasks"
    if settings.get("source") != "folder" or settings.get("reader") not in READERS:
        raise PalimpsestError(
            f"task {task}: metadata.palimpsest does not say where its rows come from. Write `source: world`, or "
            f"`source: folder` with `path:` and `reader:` ({', '.join(READERS)})."
        )
    if revision is not None:
        from palimpsest.sources import hub_data

        hub = settings.get("hub")
        if hub is None:
            raise PalimpsestError(
                f"task {task}: the study names a revision, but this task has no data on the hub. Put its data into "
                f"{settings['path']} under PALIMPSEST_DATA and drop the revision."
            )
        return hub_data.download(hub["repo"], revision, [*hub["files"], *more], place=f"data.{task}")
    return local_folder(task, settings, root)


def local_folder(task: str, settings: Mapping[str, Any], root: str | Path | None = None) -> Path:
    """A task's folder under `root`, or PALIMPSEST_DATA; says what to do where it is not there."""
    path = settings["path"]
    root = root or os.environ.get("PALIMPSEST_DATA")
    hub = settings.get("hub")
    instead = (
        f" Or take them from the hub ({hub['repo']}) at a commit: in the study, `data: {{{task}: {{revision: "
        "<40 hexadecimal digits>}}`."
        if hub
        else ""
    )
    if not os.path.isabs(path) and not root:
        raise PalimpsestError(
            f"task {task}: its data, {path}, is looked for under PALIMPSEST_DATA, which is not set. "
            f"Write e.g. `export PALIMPSEST_DATA=/data` (for /data/{path}).{instead}"
        )
    folder = Path(root or "", path)
    if not folder.is_dir():
        raise PalimpsestError(
            f"task {task}: there is no folder {folder}. "
            f"Set PALIMPSEST_DATA to the folder that holds {path} (now {root}).{instead}"
        )
    return folder


def _rows(folder: Path, task: str, settings: dict[str, Any]) -> files.Rows:
    if settings["source"] == "world":
        rows = files.json_lines(folder / settings.get("file", f"{task}.jsonl"))
    else:
        rows = READERS[settings["reader"]](folder, settings)
    right, wrong = settings.get("pair", (None, None))
    for place, row in rows:
        if right is not None:
            for field in ("id", right, wrong):
                _check_field(place, row, field)
            rest = {field: value for field, value in row.items() if field not in (right, wrong)}
            row = rest | files.in_fixed_order(row["id"], row[right], row[wrong])
        yield place, row


def _examples(folder: Path, wanted: dict[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """What few-shot examples are drawn from: enough of them, for each group that has its own."""
    few = settings["fewshot"]
    rows = [row for _, row in checked(_rows(folder, wanted["task"], settings | few), settings["required"])]
    by = few.get("by")
    for name, count in Counter(row.get(by) for row in rows).items():
        if count < wanted["num_fewshot"]:
            of = f" for {by} {name}" if by else ""
            raise PalimpsestError(
                f"task {wanted['task']}: num_fewshot is {wanted['num_fewshot']}, but there are only {count} "
                f"examples{of}. Write a smaller number."
            )
    return rows
