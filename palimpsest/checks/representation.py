"""Representation change: cells that are in the grid, texts that the study has, probes of sentences."""

from __future__ import annotations

from collections.abc import Iterator

from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, listing, nearest, nested, twice
from palimpsest.grid import Grid
from palimpsest.probing import definition
from palimpsest.settings import Study


def representation_problems(study: Study) -> Iterator[Problem]:
    asked = study.representation
    if asked is None:
        return
    grid, path = Grid(study), ("representation",)
    sentences = [name for name in grid_probes(study) if definition.probes()[name]["kind"] == "sentence"]
    yield from _cells(grid, (*path, "cells"), asked.cells or [], dense=True)
    yield from _known((*path, "tasks"), asked.tasks, [*study.tasks, *sentences], "task or probe of sentences")
    if asked.sensitivity:
        path = (*path, "sensitivity")
        yield from _cells(grid, (*path, "cells"), asked.sensitivity.cells, dense=False)
        yield from _known((*path, "probes"), asked.sensitivity.probes, sentences, "probe of sentences")


def grid_probes(study: Study) -> list[str]:
    """The probes of a study, those of sets one by one; what there is no file for is told elsewhere."""
    known = [name for name in study.probes if name in definition.shipped()]
    return [
        member
        for name in known
        for member in definition.members(name)
        if member in definition.probes() and member in (study.probes[name].only or [member])
    ]


def _cells(grid: Grid, path: KeyPath, patterns: list[str], dense: bool) -> Iterator[Problem]:
    yield from twice(path, patterns)
    there = {cell.id.rpartition("/")[0]: cell for cell in grid.cells() if dense or not cell.is_dense}
    good = [pattern for pattern in patterns if any(dense or not cell.is_dense for cell in grid.matching(pattern))]
    for index, pattern in enumerate(patterns):
        if pattern in good:
            continue
        near = nearest(pattern, there)
        text = f"no cell of this study is {pattern!r}.{did_you_mean(near)}"
        if grid.matching(pattern):
            text = f"{pattern} is the dense model, of which no matrix is compressed. Name a compressed cell."
        fix = list(dict.fromkeys([*good, near])) if near else good or list(there)[:1]
        yield Problem((*path, index), text, nested(path, fix) if fix else None)


def _known(path: KeyPath, names: list[str], known: list[str], what: str) -> Iterator[Problem]:
    yield from twice(path, names)
    good = [name for name in names if name in known]
    for index, name in enumerate(names):
        if name not in known:
            near = nearest(name, known)
            text = f"this study has no {what} {name!r}. It has {listing(known)}.{did_you_mean(near)}"
            fix = list(dict.fromkeys([*good, near])) if near else good or known[:1]
            yield Problem((*path, index), text, nested(path, fix) if fix else None)
