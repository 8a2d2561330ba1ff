"""What each recovery brought back of the facts that the dense model knows, on people it was and was not told of."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "What recoveries bring back"


def rows(tables: Tables) -> Table:
    """One row a variant of each recovered cell, the cell alone first; no verdict for damage under ten points."""
    columns = [
        Column("recovery", "recovery", right=False),
        Column("bytes_total", "size", "MB", 2, 1e-6),
        Column("parameters_extra", "parameters", "extra", 0),
        Column("known_R", "known, R", "%", 1, 100),
        Column("known_U", "known, U", "%", 1, 100),
        Column("returned_unseen", "returned", "unseen, %", 0, 100),
        Column("relearned", "re-learned", "%", 0, 100),
    ]
    table = Table([*cell_columns(tables), *columns])
    for cell, recoveries in tables.recovered.items():
        for recovery in ("none", *recoveries):
            row = {
                "model": cell.model,
                "label": cell.label,
                "level": cell.level,
                "seed": cell.seed,
                "recovery": recovery,
            }
            # With the adapter; of what a recovery put into the weights, what they have become.
            row["bytes_total"] = tables.measured("bytes_total", [cell], recovery)[cell].value
            for pool, quantity in quantities.POOLS.items():
                row[f"known_{pool}"] = tables.numbers(quantity, [cell], recovery)[cell]
            if recovery != "none":
                row["parameters_extra"] = tables.extra_parameters(cell, recovery)
            if recovery != "none" and not cell.is_dense:
                row["returned_unseen"] = tables.numbers(quantities.RETURNED, [cell], recovery)[cell]
                row["relearned"] = tables.numbers(quantities.RELEARNED, [cell], recovery)[cell]
            table.add(row, new_block=recovery == "none")
    return table
