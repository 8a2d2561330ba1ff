"""Answers lost and gained against the dense model, their difference, and whether it is more than chance."""

from __future__ import annotations

from dataclasses import replace

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Answers lost and gained against the dense model"

ALONE = ("detectable", "p_holm", "p_maxt", "q_bh")  # without an interval


def rows(tables: Tables) -> Table:
    """One row a cell and task."""
    columns = [
        Column("task", "task", right=False),
        Column("lost", "lost", "%", 1, 100),
        Column("gained", "gained", "%", 1, 100),
        Column("difference", "difference", "points", 1, 100),
        Column("detectable", "detectable", "points", 1, 100),
        Column("p_holm", "p", "Holm", 3),
        Column("p_maxt", "p", "max-T", 3),
        Column("q_bh", "q", "BH", 3),
        Column("n", "questions", "", 0),
    ]
    table = Table([*cell_columns(tables), *columns])
    for lost, _ in quantities.flips(tables):
        cells = [cell for cell in tables.answering(lost.task) if not cell.is_dense]
        values = {
            metric: tables.numbers(replace(lost, metric=metric), cells)
            for metric in ("lost", "gained", "difference", *ALONE)
        }
        for index, cell in enumerate(cells):
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed, "task": lost.title}
            row |= {metric: numbers[cell] for metric, numbers in values.items()}
            row |= {metric: values[metric][cell].value for metric in ALONE} | {"n": values["lost"][cell].n}
            table.add(row, new_block=index == 0)
    return table
