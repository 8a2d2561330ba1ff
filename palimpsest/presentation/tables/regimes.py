"""How near attention and activations of every recovery are to the dense model's and to the cell's, mean over blocks."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures.regimes import compared
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Attention and activations, mean over blocks"
MEASURES = {"attention_js": "JS, bits", "activation_cka": "CKA"}
REFERENCES = {"to_dense": "to dense", "to_cell": "to the cell", "towards_dense": "nearer to dense"}


def rows(tables: Tables) -> Table:
    """One row a variant and task; "nearer" is by how much a recovery is nearer to the dense model than its cell."""
    columns = [
        Column(f"{measure}_{reference}", words, unit, 3)
        for measure, unit in MEASURES.items()
        for reference, words in REFERENCES.items()
    ]
    named = [Column("recovery", "recovery", right=False), Column("task", "texts", right=False)]
    table = Table([*cell_columns(tables), *named, *columns])
    for cell, recoveries in compared(tables).items():
        for task in dict.fromkeys(tables.similarity["task"]):
            for recovery in ("none", *recoveries):
                row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
                row |= {"recovery": recovery, "task": quantities.title_of(task)}
                for column in columns:
                    if recovery != "none" or column.key.endswith("_to_dense"):
                        row[column.key] = tables.similar(task, column.key, cell, recovery)["all", "all"]
                table.add(row, new_block=recovery == "none")
    return table
