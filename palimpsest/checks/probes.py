"""Probes: names that exist, cells that are in the grid, each probe once, [CLS] where there is one."""

from __future__ import annotations

from collections.abc import Iterator

from palimpsest.checks.problems import Problem, did_you_mean, listing, nearest, nested, show, twice
from palimpsest.checks.worlds import WORLD, no_world
from palimpsest.grid import Grid
from palimpsest.probing import definition
from palimpsest.settings import Probe, Study


def probe_problems(study: Study) -> Iterator[Problem]:
    known = list(definition.shipped())
    usable = [name for name in known if not (definition.is_of_world(name) and no_world(study))]
    grid, read_by = Grid(study), {}
    for name, settings in study.probes.items():
        path = ("probes", name)
        said = settings.model_dump(exclude_unset=True)
        if name not in usable:
            near = nearest(name, [other for other in usable if other not in study.probes])
            if name in known:
                text = f"the probe {name} reads the world, and this study has none; without: {listing(usable)}."
                fix = nested(("probes", near), said) if near else {"world": WORLD, "probes": {name: said}}
            else:
                text = f"unknown probe {show(name)}. There are: {listing(known)}.{did_you_mean(near)}"
                fix = nested(("probes", near or usable[0]), said) if usable else None
            yield Problem(path, text, fix)
            continue
        yield from _members(study, name, settings)
        for member in definition.members(name):
            if settings.only and member not in settings.only:
                continue
            if (other := read_by.setdefault(member, name)) != name:
                yield Problem(path, f"{member} is read by {other} already. Leave it out of one of them with `only`.")
        yield from _cells(grid, name, settings)
        yield from _pooling(grid, name, settings)


def _members(study: Study, name: str, settings: Probe) -> Iterator[Problem]:
    path, members = ("probes", name, "only"), definition.members(name)
    yield from twice(path, settings.only or [])
    for index, member in enumerate(settings.only or []):
        if member not in members:
            near = nearest(member, members)
            good = [each for each in settings.only if each in members]
            text = f"{name} has no probe {show(member)}. It has {listing(members)}.{did_you_mean(near)}"
            yield Problem((*path, index), text, nested(path, list(dict.fromkeys([*good, near or members[0]]))))


def _cells(grid: Grid, name: str, settings: Probe) -> Iterator[Problem]:
    path = ("probes", name, "cells")
    yield from twice(path, settings.cells or [])
    for index, pattern in enumerate(settings.cells or []):
        if not grid.matching(pattern):
            near = nearest(pattern, [cell.id.rpartition("/")[0] for cell in grid.cells()])
            good = [each for each in settings.cells if grid.matching(each)]
            text = f"no cell of this study is {show(pattern)}.{did_you_mean(near)}"
            fix = nested(path, list(dict.fromkeys([*good, near]))) if near or good else None
            yield Problem((*path, index), text, fix)


def _pooling(grid: Grid, name: str, settings: Probe) -> Iterator[Problem]:
    """Decoders have no [CLS] token; of encoders from files their tokenizer says it, when they are read."""
    path = ("probes", name, "pooling")
    yield from twice(path, settings.pooling)
    if "cls" not in settings.pooling:
        return
    cells = [cell for pattern in settings.cells for cell in grid.matching(pattern)] if settings.cells else grid.cells()
    decoders = sorted({cell.model for cell in cells if not grid.is_encoder(cell.model)})
    if decoders:
        rest = [each for each in settings.pooling if each != "cls"] or ["mean"]
        text = f"{listing(decoders)} is no encoder and has no [CLS] token. Pool otherwise, or name an encoder's cells."
        yield Problem(path, text, nested(path, rest))
