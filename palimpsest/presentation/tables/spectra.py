"""How many directions carry weights and activations: effective ranks and energy, as shares of the full rank."""

from __future__ import annotations

from palimpsest.presentation import represented
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Rank of weights and of activations, in % of the full rank"
PARTS = {"weight": "weights", "input": "goes in", "output": "comes out"}
METRICS = {"effective_rank_share": "effective", "energy_rank_90_share": "90 % energy", "energy_rank_99_share": "99 %"}


def rows(tables: Tables) -> Table:
    """One row a cell and matrix, the mean over blocks; first the mean of all matrices."""
    columns = [
        Column(f"{part}_{metric}", words, unit) for part, words in PARTS.items() for metric, unit in METRICS.items()
    ]
    named = [Column(name, name, right=False) for name in ("model", "label", "level", "matrix")]
    table = Table([*named, *columns])
    for cell in represented.cells_of(tables, "weight"):
        found = {
            f"{part}_{metric}": represented.shares(tables, cell, part, metric) for part in PARTS for metric in METRICS
        }
        matrices = dict.fromkeys(name for _, name in found[columns[0].key])
        for matrix in ("all", *matrices):
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "matrix": matrix}
            for key, values in found.items():
                own = [value for (_, name), value in values.items() if matrix in ("all", name)]
                row[key] = sum(own) / len(own)
            table.add(row, new_block=matrix == "all")
    return table
