"""Every task: how it was scored, and what each cell reaches, by every scoring there is."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import level_title
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Every task, by every scoring"
MOST_ACROSS = 8  # cells that fit beside each other


def rows(tables: Tables) -> Table:
    """One row a task and metric and a column a cell; where there are many cells, one row a task, metric and cell."""
    named = [
        Column("task", "task", right=False),
        Column("scoring", "scored", right=False),
        Column("metric", "metric", right=False),
    ]
    asked = quantities.by_task(tables)
    across = len(tables.cells) <= MOST_ACROSS
    if across:
        several = len({cell.model for cell in tables.cells}) > 1
        values = [
            Column(cell.id, f"{cell.model} {cell.label}" if several else cell.label, level_title(cell.level), 3)
            for cell in tables.cells
        ]
    else:
        values = [Column("cell", "cell", right=False), Column("value", "value", "", 3)]
    table = Table([*named, *values, Column("n", "questions", "", 0)])
    before = None
    for quantity in asked:
        numbers = tables.where_it_stands(quantity)
        row = {"task": quantity.title, "scoring": quantity.scoring, "metric": quantity.metric}
        row["n"] = max(number.n for number in numbers.values())
        lines = [{cell.id: number for cell, number in numbers.items()}]
        if not across:
            lines = [{"cell": cell.id, "value": number} for cell, number in numbers.items()]
        for line in lines:
            table.add(row | line, new_block=before not in (None, quantity.task))
            before = quantity.task
    return table
