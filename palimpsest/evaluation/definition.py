"""A task's definition: lm-eval's YAML, with what the `data` rule must know under `metadata.palimpsest`."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from palimpsest.evaluation import registered
from palimpsest.evaluation.readers import READERS
from palimpsest.evaluation.scorers import SCORERS
from palimpsest.provenance import PalimpsestError

SHIPPED = Path(__file__).parent / "tasks"
OPTION = "option"  # among the texts of `classify`: each of the row's options, which get a class one by one
METRICS = {  # output type -> metrics that the analysis knows
    "generate_until": ("exact_match",),
    "multiple_choice": ("acc", "acc_norm", "mcc"),
    "loglikelihood": ("acc", "perplexity"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}


def names() -> list[str]:
    """The tasks there are: the YAML files beside this module."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def is_registered(task: str) -> bool:
    """Whether a task is taken from lm-eval's own registry: nothing shipped has its name, and lm-eval's registry has."""
    return task not in names() and registered.find(task) is not None


def shipped(task: str) -> dict[str, Any]:
    """The definition of a task by its name."""
    if task not in names():
        near = difflib.get_close_matches(task, names(), 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise PalimpsestError(
            f"there is no task {task!r}.{meant} There are {', '.join(names())}; a new one is a YAML file in {SHIPPED}."
        )
    return read(SHIPPED / f"{task}.yaml", has_rows=False)


def asked(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a study asks for: a shipped task with its options, or lm-eval's file as it stands."""
    if is_registered(task):
        return {"task": task, "registered": registered.find(task).read_text(encoding="utf-8"), "options": dict(options)}
    return with_options(shipped(task), options)


def with_options(definition: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A definition with what a study says of the task under `data`; refuses what the task cannot have."""
    wanted = copy.deepcopy(definition)
    task, said = wanted["task"], wanted["metadata"]["palimpsest"]
    if options.get("rows") is not None:
        said["rows"] = options["rows"]
    if options.get("window") is not None:
        if "window" not in said:
            raise PalimpsestError(f"data.{task}.window: this task is not cut into windows. Drop the key.")
        said["window"] = options["window"]
    if options.get("training_share") is not None:
        if "classify" not in said:
            raise PalimpsestError(f"data.{task}.training_share: no model is fine-tuned for this task. Drop the key.")
        said["training_share"] = options["training_share"]
    shots = options.get("num_fewshot")
    if shots and "fewshot" not in said:
        raise PalimpsestError(f"data.{task}.num_fewshot: this task has no examples to show. Drop the key.")
    if shots is not None:
        wanted["num_fewshot"] = shots
    if wanted.get("num_fewshot"):
        wanted.setdefault("fewshot_split", "dev")
    else:
        wanted.pop("fewshot_split", None)
        wanted.pop("fewshot_config", None)
    return wanted


def inputs(said: Mapping[str, Any], folder: Path) -> list[str]:
    """The files that a task's rows are made from: those that it names, else everything in its folder."""
    listed = [entry["file"] for entry in said.get("files", []) if isinstance(entry, dict)]
    if listed:
        return [str(folder / name) for name in listed]
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def write(path: Path, definition: Mapping[str, Any]) -> None:
    """Write a task's YAML."""
    path.write_text(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True), encoding="utf-8")


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
    if has_rows and ours(definition).get("source") == registered.SOURCE:
        return
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
    if (hub := said.get("hub")) is not None and not (
        isinstance(hub, dict) and isinstance(hub.get("repo"), str) and isinstance(hub.get("files"), list)
    ):
        yield 'metadata.palimpsest.hub: write e.g. `hub: {repo: allenai/sciq, files: ["data/test-*.parquet"]}`.'
    if definition.get("num_fewshot") and not isinstance((said.get("fewshot") or {}).get("files"), list):
        yield "metadata.palimpsest.fewshot: num_fewshot needs e.g. `fewshot: {files: [train.jsonl]}`."
    if (scorer := said.get("scorer")) is not None and scorer not in SCORERS:
        yield f"metadata.palimpsest.scorer: {scorer!r} is none of {', '.join(SCORERS)}.{_near(scorer, SCORERS)}"
    required = said.get("required")
    if not isinstance(required, list) or not required:
        yield "metadata.palimpsest.required: list the fields that every row must have, e.g. [question, answer]."
        return
    if "classify" in said:
        yield from _classify_problems(said, required)
    for key in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        field = definition.get(key, "")
        if isinstance(field, str) and field and "{{" not in field and field not in required:
            yield f"{key}: {field!r} is no field of `required` ({', '.join(required)}).{_near(field, required)}"


def _classify_problems(said: Mapping[str, Any], required: list[str]) -> Iterator[str]:
    place, classify = "metadata.palimpsest.classify", said["classify"]
    texts = classify.get("texts") if isinstance(classify, dict) else None
    if not isinstance(texts, list) or len(texts) not in (1, 2) or not isinstance(classify.get("train"), dict):
        yield f"{place}: write e.g. `classify: {{texts: [premise, hypothesis], train: {{files: [train.csv]}}}}`."
        return
    known = [*(field for field in required if field not in ("options", "label", "answer")), OPTION]
    for field in texts:
        if field not in known:
            yield f"{place}.texts: {field!r} is no field of `required`; {', '.join(known)} are.{_near(field, known)}"
    if (OPTION in texts) != ("pair" in said):
        yield f"{place}.texts: {OPTION!r} is what a class is found of where the task has a `pair`, and only there."
    if "pair" not in said and not isinstance(said.get("classes"), dict):
        yield f"{place}: the task needs `classes:`, each with its word, or a `pair`."


def classes(definition: dict[str, Any]) -> list[str]:
    """The classes that a classifier of a task has, in their order.

    Of a `pair` the class says whether an option is the right one: the field of the wrong one comes first.
    """
    said = ours(definition)
    return [*reversed(said["pair"])] if "pair" in said else list(said["classes"])


def _near(word: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(known), 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def ours(definition: dict[str, Any]) -> dict[str, Any]:
    """`metadata.palimpsest` of a definition."""
    metadata = definition.get("metadata")
    return (metadata.get("palimpsest") if isinstance(metadata, dict) else None) or {}
