"""Which texts of calibrations and recoveries say what the tasks ask."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Questions and evaluated texts that occur in calibration and recovery texts"


def rows(tables: Tables) -> Table:
    """One row a text and task that have words in common; the others are in leaks.csv."""
    columns = [
        Column("text", "text", right=False),
        Column("task", "task", right=False),
        Column("rows", "rows", "", 0),
        Column("overlapping", "overlapping", "8 words", 0),
        Column("overlapping_share", "of them", "%", 1, 100),
        Column("contained", "whole", "with answer", 0),
        Column("contained_share", "of them", "%", 1, 100),
        Column("worst", "worst", right=False, wide=0.24),
    ]
    table, before = Table(columns), None
    for found in tables.leaks[tables.leaks["overlapping"] > 0].to_dict("records"):
        text = f"{found['use']} {found['text']}"
        row = found | {"text": text, "task": quantities.title_of(found["task"])}
        table.add(row, new_block=before not in (None, text), bold=found["contained"] > 0)
        before = text
    return table
