"""Tasks of lm-eval's own registry: its definition as it is, its data in Parquet files beside it.

A study names such a task by lm-eval's name (`arc_easy`), or by `lm_eval/arc_easy` where this library ships a task of
the same name. The `data` rule downloads its data set at the commit that the study names; after that nothing is looked
for on the network. Only single tasks that are YAML files can be had: groups are named task by task.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError, atomic_folder

PREFIX = "lm_eval."  # as `lm_eval/` stands in names of folders
SOURCE = "lm_eval"  # as `metadata.palimpsest.source`
BUILDERS = ("json", "parquet", "csv", "text", "arrow")  # read local files: there is no commit to name


@functools.cache
def find(task: str) -> Path | None:
    """The registry's file that defines a task; None if there is none. (lm-eval's own index takes 9 seconds.)"""
    name = task.removeprefix(PREFIX)
    package = importlib.util.find_spec("lm_eval")
    if package is None or not package.submodule_search_locations:
        return None
    root = Path(package.submodule_search_locations[0]) / "tasks"
    line = re.compile(rf"""^["']?task["']?:\s*["']?{re.escape(name)}["']?\s*$""", re.MULTILINE)
    for files in (root.rglob(f"{name}.yaml"), root.rglob("*.yaml")):
        for path in files:
            if line.search(path.read_text(encoding="utf-8", errors="replace")):
                return path
    return None


def config(task: str) -> dict[str, Any]:
    """lm-eval's configuration of a task, with its functions."""
    from lm_eval.tasks._yaml_loader import load_yaml

    path = find(task)
    if path is None:
        raise PalimpsestError(f"lm-eval {importlib.metadata.version('lm_eval')} has no task {task!r}.")
    found = load_yaml(path)
    if "class" in found or "output_type" not in found:
        raise PalimpsestError(f"task {task}: {path} is not a task written in YAML alone; it cannot be had here.")
    return found | {"task": task}


def write_task(task: str, output_folder: Path, options: Mapping[str, Any]) -> None:
    """Write `<task>.yaml`, which names the registry's task and its data set, and `<split>.parquet` for each split."""
    found = config(task)
    if options.get("window") is not None:
        raise PalimpsestError(f"data.{task}.window: this task is not cut into windows. Drop the key.")
    shots = options["num_fewshot"] if options.get("num_fewshot") is not None else found.get("num_fewshot") or 0
    with tempfile.TemporaryDirectory() as cache, atomic_folder(output_folder) as folder:
        data = _data_set(task, found, options.get("revision"), cache)
        splits = _splits(task, found, shots)
        for split in splits:
            if split not in data:
                raise PalimpsestError(
                    f"task {task}: the data set {found['dataset_path']} has no split {split}, but {', '.join(data)}."
                )
            data[split].to_parquet(folder / f"{split}.parquet")
        said = {"source": SOURCE, "lm_eval": importlib.metadata.version("lm_eval"), "rows": options.get("rows")}
        said |= {"revision": options.get("revision")}
        from palimpsest.evaluation import definition

        keys = ("task", "output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "metric_list", "dataset_path")
        shown = {key: found[key] if isinstance(found[key], str | list) else "" for key in keys if key in found}
        shown["metric_list"] = [str(entry["metric"]) for entry in found.get("metric_list") or []]
        definition.write(
            folder / f"{task}.yaml",
            shown | {"num_fewshot": shots, "splits": splits, "metadata": {"palimpsest": said}},
        )


def build(task: str, folder: Path, shots: int, splits: list[str]):
    """lm-eval's task on the files that `write_task` wrote."""
    import datasets
    from lm_eval.api.task import ConfigurableTask
    from pyarrow import parquet

    data = {split: datasets.Dataset(parquet.read_table(folder / f"{split}.parquet")) for split in splits}
    found = config(task) | {"custom_dataset": lambda **_: data, "num_fewshot": shots}
    built = ConfigurableTask(config=found)
    built.set_fewshot_seed(1234)
    return built


def _data_set(task: str, found: Mapping[str, Any], revision: str | None, cache: str) -> Mapping[str, Any]:
    """The data set of a task, with `revision` from the hub; local files need none."""
    import datasets

    from palimpsest.sources import hub_data

    arguments = dict(found.get("dataset_kwargs") or {})
    arguments.pop("trust_remote_code", None)  # code of a data set is never run
    if callable(found.get("custom_dataset")):
        return found["custom_dataset"](**(found.get("metadata") or {}), **arguments)
    repo = found["dataset_path"]
    if repo in BUILDERS:
        return datasets.load_dataset(repo, found.get("dataset_name"), cache_dir=cache, **arguments)
    hub_data.check(repo, revision, place=f"data.{task}")
    with hub_data.errors_of(repo, revision, place=f"data.{task}"):
        return datasets.load_dataset(repo, found.get("dataset_name"), revision=revision, cache_dir=cache, **arguments)


def _splits(task: str, found: Mapping[str, Any], shots: int) -> list[str]:
    """The split that is asked, and the one that examples come from, as lm-eval chooses them."""
    asked = found.get("test_split") or found.get("validation_split")
    if asked is None:
        raise PalimpsestError(f"task {task}: lm-eval's definition names neither a test nor a validation split.")
    splits = [asked]
    if shots:
        few = found.get("fewshot_config") or {}
        if "samples" not in few:
            order = (few.get("split"), *(found.get(f"{key}_split") for key in ("fewshot", "training", "validation")))
            splits.append(next((split for split in order if split), asked))
    # lm-eval looks at every split that its definition names when it is asked whether there is one.
    return list(dict.fromkeys(splits))
