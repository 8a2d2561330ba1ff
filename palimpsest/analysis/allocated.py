"""Selective compression: a cell whose level is shared out among its matrices, beside the one where every matrix has it.

Both are of one model, method, level, seed, options and calibration; only the allocation differs.

allocated                no task; the subset is the study's name of a cell's allocation, "uniform" at those beside it
minus_uniform            of tasks with right and wrong answers: its share of right answers minus the uniform cell's
perplexity_over_uniform  of tasks that are read token by token: its perplexity divided by the uniform cell's
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import paired, parts

if TYPE_CHECKING:
    from palimpsest.grid import Cell, Grid

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]
UNIFORM = "uniform"


def siblings(grid: Grid) -> dict[Cell, Cell]:
    """The cells with an allocation -> the cell where every matrix has the same level, of those that have one."""
    uniform, allocated = {}, {}
    for cell in grid.cells():
        if cell.is_dense:
            continue
        settings = {key: value for key, value in grid.settings(cell).items() if key != "allocation"}
        key = (cell.model, cell.method, cell.level, cell.seed, repr(sorted(settings.items())))
        if grid.allocation(cell) is None:
            uniform.setdefault(key, cell)
        else:
            allocated[cell] = key
    return {cell: uniform[key] for cell, key in allocated.items() if key in uniform}


def beside_uniform(answers: pandas.DataFrame, grid: Grid) -> pandas.DataFrame:
    """The rows of metrics of every cell with an allocation that has a uniform cell beside it."""
    pairs = siblings(grid)
    rows = [
        _variant(cell) | {"task": "", "metric": "allocated", "subset": _name(grid, cell), "value": 1.0, "n": 1}
        for cell in dict.fromkeys([*pairs.values(), *pairs])
    ]
    if pairs:
        plain = answers[answers["recovery"] == "none"]
        of = dict(list(plain.groupby(VARIANT[:-1], sort=False, observed=True)))
        for cell, other in pairs.items():
            mine, theirs = (of[tuple(_variant(one)[column] for column in VARIANT[:-1])] for one in (cell, other))
            rows += [_variant(cell) | row for row in _compared(mine, theirs)]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _compared(mine: pandas.DataFrame, theirs: pandas.DataFrame) -> Iterator[dict]:
    for task, answers in mine.groupby("task", sort=True, observed=True):
        other = theirs[theirs["task"] == task]
        if answers["correct"].notna().all() and other["correct"].notna().all():
            found = paired(answers, other, ["correct"])
            metric, compare = "minus_uniform", _difference
        elif answers["score"].notna().all() and (answers["tokens"] > 0).all():
            found = paired(answers, other, ["score", "tokens"])
            metric, compare = "perplexity_over_uniform", _ratio
        else:
            continue
        for subset, part in parts(found):
            yield {"task": task, "subset": subset, "metric": metric} | compare(part).row()


def _difference(pairs: pandas.DataFrame) -> intervals.Estimate:
    return intervals.paired_difference(pairs["correct_a"] - pairs["correct_b"], pairs["cluster"])


def _ratio(pairs: pandas.DataFrame) -> intervals.Estimate:
    columns = ("score_a", "score_b", "tokens_a")
    sums = [intervals.cluster_sums(pairs[column], pairs["cluster"])[0] for column in columns]
    return intervals.bootstrap(lambda a, b, n: np.exp((b.sum(-1) - a.sum(-1)) / n.sum(-1)), [sums], n=len(pairs))


def _name(grid: Grid, cell: Cell) -> str:
    allocated = grid.allocation(cell)
    return UNIFORM if allocated is None else allocated[0]


def _variant(cell: Cell) -> dict:
    return {"model": cell.model, "label": cell.label, "method": cell.method, "level": cell.level, "seed": cell.seed,
            "recovery": "none"}  # fmt: skip
