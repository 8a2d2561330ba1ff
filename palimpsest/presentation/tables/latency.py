"""What variants with a recovery, their cells and dense models take to read an input and to generate a token."""

from __future__ import annotations

from palimpsest.grid import Cell
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "What recoveries cost in time, with ranges over the rounds"
WAYS = {"": "", "_merged": "merged", "_factors": "two factors"}


def rows(tables: Tables) -> Table:
    """One row a variant, way of running it and context; ratios are those of the same round."""
    timed = [
        Column(f"{phase}_{what}", title, unit, decimals)
        for phase, title in (("prefill", "prefill"), ("decode", "a token"))
        for what, unit, decimals in (("ms", "ms", 1), ("over_dense", "/ dense", 2), ("over_cell", "/ cell", 2))
    ]
    named = [Column("recovery", "recovery", right=False), Column("way", "run", right=False)]
    table = Table([*cell_columns(tables), *named, Column("context", "input", "tokens", 0), *timed])
    for model in tables.models:
        dense = tables.dense(model)
        recovered = {cell: names for cell, names in tables.recoveries.items() if cell.model == model}
        cells = {dense: []} | recovered
        for cell, recoveries in cells.items():
            for number, recovery in enumerate(("none", *recoveries)):
                for row in _rows(tables, cell, recovery):
                    table.add(row, new_block=number == 0 and not row["way"] and row["context"] == _first(tables, cell))
    return table


def _first(tables: Tables, cell: Cell) -> int:
    return tables.contexts(cell.model)[0]


def _rows(tables: Tables, cell: Cell, recovery: str):
    for suffix, way in WAYS.items():
        for context in tables.contexts(cell.model):
            if tables.timed(f"prefill{suffix}_ms", context, cell, recovery) is None:
                continue
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
            row |= {"recovery": recovery, "way": way, "context": context}
            for phase in ("prefill", "decode"):
                for what in ("ms", "over_dense", "over_cell"):
                    row[f"{phase}_{what}"] = tables.timed(f"{phase}{suffix}_{what}", context, cell, recovery)
            yield row
