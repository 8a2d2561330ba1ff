"""Recoveries: methods that exist, options they take, cells that are in the grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from palimpsest.checks.labels import option_problems
from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, listing, nearest, nested, show, twice
from palimpsest.checks.worlds import world_text
from palimpsest.compression import registry as compression
from palimpsest.grid import Cell, Grid
from palimpsest.levels import Joint, Level, LevelError, from_path, parse
from palimpsest.recovery import registry
from palimpsest.settings import (
    RANDOM,
    SWAPPED,
    SWAPPED_TEXT,
    WITH_FACTS,
    WITHOUT_FACTS,
    Recovery,
    RecoveryTraining,
    SampledText,
    Study,
)


def recovery_problems(study: Study) -> Iterator[Problem]:
    grid, methods = Grid(study), registry.declared()
    for name, recovery in study.recovery.items():
        path = ("recovery", name)
        if name.endswith(SWAPPED):  # such names are left out of figures and measurements, as twins
            text = f"names that end in {SWAPPED} are those of the recoveries that cross_fit makes. Give it another."
            yield Problem(path, text)
        if recovery.method not in methods:
            near = nearest(recovery.method, methods)
            text = f"unknown recovery method {show(recovery.method)}. Methods: {listing(methods)}.{did_you_mean(near)}"
            yield Problem((*path, "method"), text, nested((*path, "method"), near or next(iter(methods))))
        else:
            declared, place = methods[recovery.method], (*path, "options")
            yield from option_problems(place, recovery.method, declared.options, recovery.options, declared.ranges)
            free = {key: value for key, value in declared.options.items() if key not in declared.ranges}
            yield from _positive(place, free, recovery.options)
            yield from _sources(study, path, methods[recovery.method], recovery)
            yield from _parts(grid, path, methods, recovery)
            yield from _budget(place, recovery)
            yield from _mended(grid, path, declared, recovery)
            yield from _choice(path, recovery)
        if training := recovery.training:
            yield from _unseen(path, "text", training.text, "recovery_R")
            yield from _sampled(study, (*path, "training"), training)
            yield from _unseen(path, "validation", training.validation, "recovery_V")
            yield from world_text(study, (*path, "training", "text"), training.text)
            yield from world_text(study, (*path, "training", "validation"), training.validation)
            yield from _cross_fit(study, name)
        yield from twice((*path, "cells"), recovery.cells)
        for index, pattern in enumerate(recovery.cells):
            if not grid.matching(pattern):
                yield _unknown_cell(grid, (*path, "cells"), index, recovery.cells)


def _sources(study: Study, path: KeyPath, declared: registry.Declaration, recovery: Recovery) -> Iterator[Problem]:
    """What a method of this kind is made from is there, and nothing that it would not look at."""
    method, kind = declared.name, declared.kind
    examples = {
        "training": (registry.TRAINED, _example_training(study, method)),
        "of": (registry.COMPOSED, [name for name, other in study.recovery.items() if other.method in declared.made_of]),
    }
    for key, (taken_by, example) in examples.items():
        value = getattr(recovery, key)
        if value and kind != taken_by:
            text = f"{method} is no {taken_by} recovery: it does not look at {key}. Leave the key out."
            yield Problem((*path, key), text)
        elif kind == taken_by and not value:
            wants = {"training": "text to train on", "of": "recoveries to be made of"}
            yield Problem((*path, key), f"{method} needs {wants[key]}.", nested((*path, key), example))
    yield from _calibration(study, (*path, "calibration"), declared, recovery.calibration)


def _example_training(study: Study, method: str) -> dict[str, Any]:
    if method == registry.FINE_TUNE:
        return {"text": {"task": study.tasks[0]}}
    return {"text": "recovery_R", "validation": "recovery_V"}


def _calibration(study: Study, path: KeyPath, declared: registry.Declaration, written: str | None) -> Iterator[Problem]:
    if written is not None and declared.calibration == registry.NO:
        yield Problem(path, f"{declared.name} does not look at calibration: leave the key out.")
    elif declared.calibration == registry.NEEDED and not study.calibration:
        text = f"{declared.name} needs the inputs of the layers, and this study has no calibration."
        yield Problem(path, text, {"calibration": {"generic": {"text": "generic"}}})
    elif written is not None and written not in study.calibration:
        near = nearest(written, study.calibration) or next(iter(study.calibration), None)
        text = f"no calibration {show(written)} in this study. Calibrations: {listing(study.calibration)}."
        yield Problem(path, f"{text}{did_you_mean(near)}", nested(path, near))


def _mended(grid: Grid, path: KeyPath, declared: registry.Declaration, recovery: Recovery) -> Iterator[Problem]:
    """A recovery that is for one family of compression is put on cells of that family."""
    for index, pattern in enumerate(recovery.cells):
        cells = grid.matching(pattern)
        if lacking := [cell for cell in cells if (found := _families(cell)) and not set(found) & set(declared.mends)]:
            said = " or ".join(_families(lacking[0])) or "the dense model"
            text = f"{declared.name} is for {listing(declared.mends)}; {lacking[0].id} is {said}."
            fit = [cell for cell in grid.cells() if set(_families(cell)) & set(declared.mends)]
            fix = list(dict.fromkeys(f"{cell.model}/{cell.label}/{parse(cell.level).path}" for cell in fit))[:1]
            yield Problem((*path, "cells", index), text, nested((*path, "cells"), fix) if fix else None)


def _families(cell: Cell) -> list[str]:
    """What a cell's method does; a joint level prunes and quantizes. [""] for the dense model, [] if unknown."""
    if cell.is_dense:
        return [""]
    found = compression.declared().get(cell.method)
    families = [] if found is None else [found.family]
    return [*families, "quantization"] if isinstance(_level(cell.level), Joint) else families


def _level(text: str) -> Level | None:
    try:
        return parse(text)
    except LevelError:
        return None


def _parts(
    grid: Grid, path: KeyPath, methods: Mapping[str, registry.Declaration], recovery: Recovery
) -> Iterator[Problem]:
    """The recoveries that a composed one is made of exist, are of the right kind, and are on the same cells."""
    study, declared = grid.study, methods[recovery.method]
    if declared.kind != registry.COMPOSED:
        return
    yield from twice((*path, "of"), recovery.of)
    usable = [name for name, other in study.recovery.items() if other.method in declared.made_of]
    for index, name in enumerate(recovery.of):
        place = (*path, "of", index)
        if name not in usable:
            why = f"is a {study.recovery[name].method}" if name in study.recovery else "is no recovery of this study"
            near = nearest(name, usable)
            text = f"{show(name)} {why}; {recovery.method} is made of {listing(declared.made_of)}.{did_you_mean(near)}"
            yield Problem(place, text, nested((*path, "of"), usable) if usable else None)
            continue
        covered = {cell.id for pattern in study.recovery[name].cells for cell in grid.matching(pattern)}
        for pattern in recovery.cells:
            if lacking := [cell.id for cell in grid.matching(pattern) if cell.id not in covered]:
                text = f"{show(name)} is not put on {lacking[0]}: add {show(pattern)} to recovery.{name}.cells."
                yield Problem(place, text)
                break


def _unseen(path: KeyPath, key: str, text: Any, right: str) -> Iterator[Problem]:
    """Training text speaks of pool R only, validation text of V: what comes back of U must come from the cell."""
    if isinstance(text, str) and text in WITH_FACTS and text != right:
        problem = (
            f"{show(text)} speaks of people of other pools, whose facts would be learned again and "
            "counted as returned. "
            f"Write {right}, or a kind of text without known facts ({', '.join(WITHOUT_FACTS)})."
        )
        yield Problem((*path, "training", key), problem, nested((*path, "training", key), right))


def _sampled(study: Study, path: KeyPath, training: RecoveryTraining) -> Iterator[Problem]:
    """A calibration that is trained on exists and says no facts of other pools; facts can be masked only in a text."""
    if isinstance(training.text, SampledText):
        name, place = training.text.calibration, (*path, "text", "calibration")
        drawn_from = study.calibration[name].text if name in study.calibration else None
        if drawn_from is None:
            near = nearest(name, study.calibration)
            text = f"no calibration {show(name)} in this study.{did_you_mean(near)}"
            yield Problem(place, text, nested(place, near) if near else None)
        elif drawn_from == RANDOM:
            yield Problem(place, f"{name} is random tokens, which nothing can be learned from. Name a text.")
        elif isinstance(drawn_from, str) and drawn_from in WITH_FACTS and drawn_from != "recovery_R":
            text = (
                f"the calibration {name} is drawn from {drawn_from}, which speaks of people of other pools: their "
                "facts would be learned again and counted as returned. Write recovery_R, or a calibration of text "
                f"without known facts ({', '.join(WITHOUT_FACTS)})."
            )
            yield Problem((*path, "text"), text, nested((*path, "text"), "recovery_R"))
    if training.mask and (study.world is None or isinstance(training.text, SampledText)):
        why = "a calibration has rows of tokens" if study.world else "this study has no world, whose facts are known"
        text = f"values are masked where a text says the facts of a world, and {why}. Leave the key out."
        yield Problem((*path, "mask"), text)


def _budget(path: KeyPath, recovery: Recovery) -> Iterator[Problem]:
    """A number of parameters stands in the place of a rank or of a number of tokens."""
    for size in ("rank", "tokens"):
        if recovery.options.get("budget") is not None and size in recovery.options:
            text = f"the budget makes the {size}: give either {size} or budget, not both."
            yield Problem((*path, "budget"), text, nested((*path, size), recovery.options[size]))


def _cross_fit(study: Study, name: str) -> Iterator[Problem]:
    """A recovery whose pools are swapped reads the text of the one, so that its twin can read that of the other."""
    training, key = study.recovery[name].training, ("recovery", name, "training")
    if training.cross_fit and training.text != "recovery_R":
        text = (
            f"pools are swapped by training a second time on {SWAPPED_TEXT}: the text of the first must be recovery_R"
        )
        yield Problem((*key, "cross_fit"), f"{text}, not {show(training.text)}.", nested((*key, "text"), "recovery_R"))


def _choice(path: KeyPath, recovery: Recovery) -> Iterator[Problem]:
    """Dynamic prompts have something to choose from; one that is always chosen is among them."""
    if recovery.method != "idp" or not recovery.of:
        return
    if len(recovery.of) == 1:
        yield Problem((*path, "of"), "there is nothing to choose from: idp is made of two prompts or more.")
    place, number = (*path, "options", "prompt"), recovery.options.get("prompt")
    if recovery.options.get("choose") == "always" and not (type(number) is int and 1 <= number <= len(recovery.of)):
        text = f"`choose: always` needs the number of a prompt of `of`, 1 to {len(recovery.of)}; it is {show(number)}."
        yield Problem(place, text, nested(place, 1))


def _positive(path: KeyPath, known: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in options.items():
        if type(value) is int and type(known.get(name)) is int and value < 1:
            yield Problem(
                (*path, name), f"{value} is out of range: it must be at least 1.", nested((*path, name), known[name])
            )


def _unknown_cell(grid: Grid, path: KeyPath, index: int, patterns: list[str]) -> Problem:
    pattern, known = patterns[index], {f"{cell.model}/{cell.label}/{cell.level}": cell for cell in grid.cells()}
    near = nearest(pattern, known) or next(iter(known))
    good = [near if other == pattern else other for other in patterns if other == pattern or grid.matching(other)]
    fix = nested(path, list(dict.fromkeys(good)))
    return Problem((*path, index), f"{_why_no_cell(grid, pattern)}{did_you_mean(near)}", fix)


def _why_no_cell(grid: Grid, pattern: str) -> str:
    parts = pattern.split("/")
    if len(parts) not in (3, 4):
        return f"{show(pattern)} is not model/label/level or model/label/level/s0."
    model, label, level = parts[:3]
    of_model = grid.cells(model)
    if not of_model:
        return f"no model {show(model)} in this study. Models: {listing(grid.study.models)}."
    of_label = [cell for cell in of_model if cell.label == label]
    if not of_label:
        labels = dict.fromkeys(cell.label for cell in of_model)
        return f"{model} is not compressed with a label {show(label)}. Its labels: {listing(labels)}."
    try:
        text = from_path(level).text
    except LevelError as error:
        return f"{show(pattern)}: {error}"
    levels = list(dict.fromkeys(cell.level for cell in of_label))
    if text not in levels:
        return f"no cell {show(pattern)} in this study. Levels of {label}: {listing(levels)}."
    seeds = dict.fromkeys(f"s{cell.seed}" for cell in of_label if cell.level == text)
    return f"no cell {show(pattern)} in this study. Seeds of {label}: {listing(seeds)}."
