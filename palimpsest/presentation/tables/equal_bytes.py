"""A small dense model, or a large one compressed to no more bytes: task by task (analysis/equal_bytes.py)."""

from __future__ import annotations

import pandas

from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import level_title
from palimpsest.presentation.quantities import title_of
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "At equal bytes: the best cell of a larger model, minus a small dense model"
DIFFERENCE, RATIO, COUNT = "at_equal_bytes", "perplexity_at_equal_bytes", "cells_at_equal_bytes"


def rows(tables: Tables) -> Table:
    """A block a small model, a row a task; a model that no cell is small enough for has one row that says so."""
    table = Table(
        [
            Column("small", "small dense model", right=False),
            Column("task", "task", right=False),
            Column("cell", "best cell of no more bytes", right=False),
            Column(DIFFERENCE, "right answers", "points more", 1, 100),
            Column(RATIO, "perplexity", "ratio", 3),
        ]
    )
    for pair in _rows(tables, COUNT):
        if pair["value"] == 0:
            none = f"none of {pair['n']} of {pair['subset']} is as small"
            table.add({"small": pair["model"], "task": "", "cell": none}, new_block=True)
            continue
        first = True
        for metric in (DIFFERENCE, RATIO):
            for found in _rows(tables, metric):
                if (found["subset"], found["model"]) == (pair["model"], pair["subset"]):
                    cell = f"{found['model']} {found['label']} {level_title(found['level'])}"
                    named = {"small": pair["model"], "task": title_of(found["task"]), "cell": cell}
                    number = Number(found["value"], found["low"], found["high"], found["n"])
                    table.add(named | {metric: number}, new_block=first)
                    first = False
    return table


def _rows(tables: Tables, metric: str) -> list[dict]:
    found: pandas.DataFrame = tables.metrics[tables.metrics["metric"] == metric]
    return found.sort_values(["subset", "task", "model"]).to_dict("records")
