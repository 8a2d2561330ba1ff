"""Fine-tuning: what is trained is an encoder, on a task of the study that a classifier can answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, listing, nearest, nested, show
from palimpsest.grid import Grid
from palimpsest.recovery.registry import FINE_TUNE
from palimpsest.settings import Study, TaskText

CLASSIFY = "classify"


def fine_tuning_problems(study: Study, files: Mapping[str, Mapping]) -> Iterator[Problem]:
    """`files`: what each file of questions says of itself."""
    grid = Grid(study)
    for name, model in study.models.items():
        if model.source != "fine-tuned":
            continue
        path = ("models", name)
        yield from _task(study, (*path, "task"), model.task, files)
        if model.of in study.models and not _is_encoder(grid, model.of):
            encoders = [other for other in study.models if other != name and _is_encoder(grid, other)]
            text = f"{model.of} is a decoder, which answers as it is. Encoders are fine-tuned."
            yield Problem((*path, "of"), text, nested((*path, "of"), encoders[0]) if encoders else None)
    for name, recovery in study.recovery.items():
        path, training = ("recovery", name), recovery.training
        if training is None:
            continue
        place = (*path, "training", "text")
        if not isinstance(training.text, TaskText):
            if recovery.method == FINE_TUNE:
                text = "fine-tuning reads the training rows of a task."
                yield Problem(place, text, nested(place, {"task": next(iter(_answered(study, files)), "sick")}))
            continue
        if recovery.method != FINE_TUNE:
            text = f"{recovery.method} is trained on text, and fine-tune on a task's rows. Name a text, or fine-tune."
            yield Problem(place, text, nested((*path, "method"), FINE_TUNE))
            continue
        yield from _task(study, (*place, "task"), training.text.task, files)
        for key in ("validation", "mask"):
            if getattr(training, key) is not None:
                yield Problem((*path, "training", key), f"{FINE_TUNE} has no {key}. Leave the key out.")
        yield from _controls(grid, (*path, "cells"), recovery.cells)
        for index, pattern in enumerate(recovery.cells):
            if decoders := [cell for cell in grid.matching(pattern) if not _is_encoder(grid, cell.model)]:
                text = f"{decoders[0].model} is a decoder, which answers as it is. Encoders are fine-tuned."
                yield Problem((*path, "cells", index), text)


def _controls(grid: Grid, path: KeyPath, cells: list[str]) -> Iterator[Problem]:
    """Cells of an encoder that answers nothing before it is fine-tuned are compared with its dense one, fine-tuned."""
    models = dict.fromkeys(cell.model for pattern in cells for cell in grid.matching(pattern))
    covered = {cell.model for pattern in cells for cell in grid.matching(pattern) if cell.is_dense}
    for model in models:
        if grid.study.models[model].source != "fine-tuned" and _is_encoder(grid, model) and model not in covered:
            text = f"{model} answers nothing before it is fine-tuned: put this on its dense model too, to compare with."
            yield Problem(path, text, nested(path, [*cells, f"{model}/dense/full"]))


def _task(study: Study, path: KeyPath, task: str, files: Mapping[str, Mapping]) -> Iterator[Problem]:
    answered = _answered(study, files)
    if task in answered:
        return
    known = [name for name, said in files.items() if CLASSIFY in said]
    near = nearest(task, answered or known)
    if task in known:
        text = f"the task {task} is not one of this study, so the model would be asked nothing. Add it to tasks."
        yield Problem(path, text, {"tasks": [*study.tasks, task]})
        return
    text = f"no model is fine-tuned for {show(task)}; there are {listing(known)}.{did_you_mean(near)}"
    yield Problem(path, text, nested(path, near or next(iter(answered or known))))


def _answered(study: Study, files: Mapping[str, Mapping]) -> list[str]:
    """The tasks of the study that a classifier can answer."""
    return [task for task in study.tasks if CLASSIFY in files.get(task, {})]


def _is_encoder(grid: Grid, model: str) -> bool:
    seen: set[str] = set()
    name = model
    while name in grid.study.models and name not in seen:
        seen.add(name)
        settings = grid.study.models[name]
        if not hasattr(settings, "of"):
            return grid.is_encoder(name)
        name = settings.of
    return False
