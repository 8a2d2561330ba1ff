"""What a study names and does not have. Everything is checked before any job starts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from palimpsest.checks.allocations import allocation_problems
from palimpsest.checks.finetuning import fine_tuning_problems
from palimpsest.checks.labels import calibration_problems, label_problems
from palimpsest.checks.probes import probe_problems
from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, listing, nearest, nested, show, twice
from palimpsest.checks.recoveries import recovery_problems
from palimpsest.checks.representation import representation_problems
from palimpsest.checks.worlds import WORLD, architecture_of, no_world, trained_here
from palimpsest.compression.allocation.registry import UNIFORM
from palimpsest.evaluation import registered
from palimpsest.grid import DENSE, NONE
from palimpsest.settings import DisplacedModel, FineTunedModel, ForkedModel, LockedModel, OutlierModel, Study, TaskText

TASKS = Path(__file__).parent.parent / "evaluation" / "tasks"
Derived = OutlierModel | ForkedModel | DisplacedModel | LockedModel | FineTunedModel


def problems(study: Study) -> list[Problem]:
    """All of them, in the order of the study."""
    checks = [_names, _seeds, _models, calibration_problems, _calibration_tasks, allocation_problems]
    checks += [label_problems, recovery_problems, _tasks, _judge, probe_problems, _similarity]
    checks += [_fine_tuning, representation_problems, _data]
    return [problem for check in checks for problem in check(study)]


def tasks() -> dict[str, bool]:
    """Every task that there is -> whether its questions come from the world."""
    return {name: said.get("source") == "world" for name, said in _task_files().items()}


@functools.cache
def _task_files() -> dict[str, dict]:
    """What each file of questions says of itself under `metadata: palimpsest`."""
    return {file.stem: _metadata(file) for file in sorted(TASKS.glob("*.yaml"))}


class _Tagged(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Task files may hold lm-eval's `!function` tags, which matter not here."""


_Tagged.add_multi_constructor("!", lambda loader, suffix, node: None)


def _metadata(file: Path) -> dict:
    content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Tagged) or {}
    said = content.get("metadata") if isinstance(content, dict) else None
    said = said.get("palimpsest") if isinstance(said, dict) else None
    return said if isinstance(said, dict) else {}  # what is wrong with it is said when the task is read (definition.py)


def _names(study: Study) -> Iterator[Problem]:
    reserved = {
        "compression": (DENSE, "the label of the dense control, which every study has"),
        "recovery": (NONE, "the plain cell, which every study has"),
        "allocation": (UNIFORM, "every matrix at the level of its label, which needs no entry"),
    }
    for section in ("models", "calibration", "allocation", "compression", "recovery"):
        entries, seen = getattr(study, section), {}
        for name, entry in entries.items():
            word, meaning = reserved.get(section, (None, None))
            if name.lower() == word:
                fix = nested((section, f"my-{name}"), entry.model_dump(exclude_unset=True))
                yield Problem((section, name), f"the name {name} is taken: it is {meaning}.", fix)
            if other := seen.get(name.lower()):
                text = f"differs from {other} by capitals only, which is the same folder on some disks."
                fix = nested((section, f"{name}-2"), entry.model_dump(exclude_unset=True))
                yield Problem((section, name), text, fix)
            seen[name.lower()] = name
    if study.name.lower() == "store":
        yield Problem(("name",), "the name store is taken: results/store is what studies share.", {"name": "my-study"})


def _seeds(study: Study) -> Iterator[Problem]:
    yield from twice(("seeds",), study.seeds)


def _models(study: Study) -> Iterator[Problem]:
    if (trained := trained_here(study)) and study.world is None:
        text = f"this key is missing: {listing(trained)} (source: world) cannot be trained without a world."
        yield Problem(("world",), text, {"world": WORLD})
    for name, model in study.models.items():
        path = ("models", name)
        if model.source == "hub":
            fix = nested(path, {"source": "folder", "path": f"models/{name}"})
            text = "the source hub is not available yet. Download the checkpoint into a folder under PALIMPSEST_DATA."
            yield Problem(path, text, fix)
        if model.source in ORIGINS:
            yield from _derived(study, path, model)
        if model.source == "world" and study.world:
            training = model.training
            steps, warmup = training.steps or study.world.documents // training.batch_size, training.warmup_steps
            place = (*path, "training", "warmup_steps")
            if warmup >= steps:
                said = "training.steps" if training.steps else "documents / batch_size"
                text = f"{warmup} warm-up steps of {steps} steps ({said})."
                yield Problem(place, text, nested(place, steps // 10))


# source -> the sources that it can be derived from
ORIGINS = {
    "outliers": ("world", "folder"),
    "forked": ("world",),
    "displaced": ("world", "folder", "forked"),
    "locked": ("world", "forked"),
    "fine-tuned": ("world", "folder", "package"),
}
FROM = {
    "world": "is trained here", "folder": "comes from a folder", "package": "from a package", "forked": "is forked",
}  # fmt: skip


def _derived(study: Study, path: KeyPath, model: Derived) -> Iterator[Problem]:
    """It is derived from a model that is there and can be its origin, and asks for no more width than that one has."""
    kinds = ORIGINS[model.source]
    origins = [name for name, other in study.models.items() if other.source in kinds]
    if model.of not in origins:
        near = nearest(model.of, origins) or next(iter(origins), None)
        known = model.of in study.models
        text = f"{model.of} has the source {study.models[model.of].source}" if known else f"no model {show(model.of)}"
        text += f". Derive it from a model that {' or '.join(FROM[kind] for kind in kinds)}: {listing(origins)}."
        yield Problem((*path, "of"), text + did_you_mean(near), nested((*path, "of"), near) if near else None)
        return
    architecture = architecture_of(study, model.of)
    for key, wanted in (("channels", "outlier channels"), ("reflections", "reflections")):
        count = getattr(model, key, 0)
        if architecture and count > architecture.hidden_size:
            text = f"{count} {wanted}, and {model.of} has {architecture.hidden_size} (hidden_size)."
            yield Problem((*path, key), text, nested((*path, key), min(4, architecture.hidden_size)))


def _calibration_tasks(study: Study) -> Iterator[Problem]:
    known = tasks()
    usable = [name for name in known if not (known[name] and no_world(study))]
    for name, calibration in study.calibration.items():
        if not isinstance(calibration.text, TaskText) or (task := calibration.text.task) in usable:
            continue
        path = ("calibration", name, "text", "task")
        near = nearest(task, usable)
        if task in known:
            text = f"the task {task} asks about the world, and this study has none; without: {listing(usable)}."
        else:
            text = f"unknown task {show(task)}. There are: {listing(known)}.{did_you_mean(near)}"
        yield Problem(path, text, nested(path, near or usable[0]) if near or usable else None)


def _tasks(study: Study) -> Iterator[Problem]:
    yield from _known("task", "tasks", study.tasks, tasks(), study)


def _judge(study: Study) -> Iterator[Problem]:
    if study.judge is None:
        return
    if study.judge not in study.models:
        near = nearest(study.judge, study.models)
        text = f"no model {show(study.judge)}; the judge is one of {listing(study.models)}.{did_you_mean(near)}"
        yield Problem(("judge",), text, {"judge": near or next(iter(study.models))})
    judged = [name for name, said in _task_files().items() if said.get("judged")]
    if not set(judged) & set(study.tasks):
        text = f"no task of this study is judged; {listing(judged)} are. Add one, or leave the judge out."
        yield Problem(("judge",), text, {"tasks": [*study.tasks, *judged[:1]]})


def _similarity(study: Study) -> Iterator[Problem]:
    """It reads tasks of the study, and there is a recovery to compare."""
    if study.similarity is None:
        return
    path = ("similarity", "tasks")
    yield from twice(path, study.similarity.tasks)
    for index, task in enumerate(study.similarity.tasks):
        if task not in study.tasks:
            near = nearest(task, study.tasks)
            text = f"this study has no task {show(task)}. It has {listing(study.tasks)}.{did_you_mean(near)}"
            good = [name for name in study.similarity.tasks if name in study.tasks]
            yield Problem((*path, index), text, nested(path, good or [near or study.tasks[0]]))
    if not study.recovery:
        yield Problem(("similarity",), "this study has no recovery to compare. Leave the key out.")


def _fine_tuning(study: Study) -> Iterator[Problem]:
    yield from fine_tuning_problems(study, _task_files())


LACKS = {  # key of `data` -> what the task's file must have for it, and what is said where it has not
    "revision": ("hub", "has no data set on the hub: its data is taken from a folder under PALIMPSEST_DATA"),
    "num_fewshot": ("fewshot", "has no examples to show"),
    "window": ("window", "is not cut into windows"),
    "training_share": ("classify", "has no classes that a model is fine-tuned for"),
    "training_rows": ("classify", "has no classes that a model is fine-tuned for"),
}


def _data(study: Study) -> Iterator[Problem]:
    """What is said of a task's data: the task is in the study, and can have it."""
    calibrated = [entry.text.task for entry in study.calibration.values() if isinstance(entry.text, TaskText)]
    asked = list(dict.fromkeys([*study.tasks, *calibrated]))
    for task, said in study.data.items():
        settings, path = said.model_dump(exclude_none=True), ("data", task)
        if task not in asked:
            near = nearest(task, asked)
            text = f"this study has no task {show(task)}. It has {listing(asked)}.{did_you_mean(near)}"
            yield Problem(path, text, nested(("data", near), settings) if near else None)
        elif task in _task_files():
            for key, (needed, lacks) in LACKS.items():
                if settings.get(key) and needed not in _task_files()[task]:
                    rest = {name: value for name, value in settings.items() if name != key}
                    yield Problem((*path, key), f"the task {task} {lacks}. Leave the key out.", nested(path, rest))
    for task in study.tasks:
        if _is_registered(task) and not (task in study.data and study.data[task].revision):
            text = f"{task} is a task of lm-eval's registry: name the commit of its data set, which cannot move."
            fix = nested(("data", task, "revision"), "<40 hexadecimal digits>")
            yield Problem(("data", task, "revision"), text, fix)


def _is_registered(task: str) -> bool:
    return task not in _task_files() and registered.find(task) is not None


def _known(word: str, key: str, names: list[str], known: Mapping[str, bool], study: Study) -> Iterator[Problem]:
    """`known` maps every name that there is to whether it needs a world."""
    usable = [name for name in known if not (known[name] and no_world(study))]
    good = list(dict.fromkeys(name for name in names if name in usable))
    yield from twice((key,), names)
    for index, name in enumerate(names):
        if name in usable or (word == "task" and _is_registered(name)):
            continue
        near = nearest(name, [other for other in usable if other not in good])
        fix = {key: [*good, near] if near else good or usable[:1]} if near or good or usable else None
        if name in known:
            text = f"the {word} {name} asks about the world, and this study has none; without: {listing(usable)}."
            if not usable:
                fix = {"world": WORLD, key: names}
        else:
            text = f"unknown {word} {show(name)}. There are: {listing(known)}.{did_you_mean(near)}"
        yield Problem((key, index), text, fix)
