"""Selective compression: a cell whose level is shared out among its matrices, beside the one where every matrix has it.

Both are of one model, method, level, seed, options and calibration; only the allocation differs.

allocated                no task; the subset is the study's name of a cell's allocation, "uniform" at those beside it
minus_uniform            of tasks with right and wrong answers: its share of right answers minus the uniform cell's
perplexity_over_uniform  of tasks that are read token by token: its perplexity divided by the uniform cell's
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import paired, parts
from palimpsest.analysis.siblings import of_allocations

if TYPE_CHECKING:
    from palimpsest.grid import Cell, Grid

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]
UNIFORM = "uniform"


def beside_uniform(answers: pandas.DataFrame, grid: Grid) -> pandas.DataFrame:
    """The rows of metrics of every cell with an allocation that has a uniform cell beside it."""
    pairs = of_allocations(grid)
    rows = [
        variant_row(cell) | {"task": "", "metric": "allocated", "subset": _name(grid, cell), "value": 1.0, "n": 1}
        for cell in dict.fromkeys([*pairs.values(), *pairs])
    ]
    rows += compared(answers, pairs, {"difference": "minus_uniform", "ratio": "perplexity_over_uniform"})
    return pandas.DataFrame(rows, columns=COLUMNS)


def compared(answers: pandas.DataFrame, pairs: Mapping[Cell, Cell], names: Mapping[str, str]) -> Iterator[dict]:
    """For each pair of cells without recovery, task and subset the first minus the second, or divided by it.

    names: of the metrics, "difference" of shares of right answers and "ratio" of perplexities.
    """
    plain = answers[answers["recovery"] == "none"] if pairs else answers.head(0)
    of = dict(list(plain.groupby(VARIANT[:-1], sort=False, observed=True)))
    for cell, other in pairs.items():
        mine, theirs = (of.get(tuple(variant_row(one)[column] for column in VARIANT[:-1])) for one in (cell, other))
        if mine is None or theirs is None:
            continue  # an encoder that was fine-tuned for no task answers none
        for task, group in mine.groupby("task", sort=True, observed=True):
            beside = theirs[theirs["task"] == task]
            if group["correct"].notna().all() and beside["correct"].notna().all():
                found, what, estimate = paired(group, beside, ["correct"]), "difference", _difference
            elif group["score"].notna().all() and (group["tokens"] > 0).all():
                found, what, estimate = paired(group, beside, ["score", "tokens"]), "ratio", _ratio
            else:
                continue
            for subset, part in parts(found):
                row = {"task": task, "subset": subset, "metric": names[what]}
                yield variant_row(cell) | row | estimate(part).row()


def variant_row(cell: Cell) -> dict:
    """The columns that name a cell without recovery."""
    return {"model": cell.model, "label": cell.label, "method": cell.method, "level": cell.level, "seed": cell.seed,
            "recovery": "none"}  # fmt: skip


def _difference(pairs: pandas.DataFrame) -> intervals.Estimate:
    return intervals.paired_difference(pairs["correct_a"] - pairs["correct_b"], pairs["cluster"])


def _ratio(pairs: pandas.DataFrame) -> intervals.Estimate:
    columns = ("score_a", "score_b", "tokens_a")
    sums = [intervals.cluster_sums(pairs[column], pairs["cluster"])[0] for column in columns]
    return intervals.bootstrap(lambda a, b, n: np.exp((b.sum(-1) - a.sum(-1)) / n.sum(-1)), [sums], n=len(pairs))


def _name(grid: Grid, cell: Cell) -> str:
    allocated = grid.allocation(cell)
    return UNIFORM if allocated is None else allocated[0]
