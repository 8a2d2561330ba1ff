"""What each recovery brought back of the facts that the dense model knows, on people it was and was not told of."""

from __future__ import annotations

from palimpsest.presentation import arms_of, quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "What recoveries bring back"


def rows(tables: Tables) -> Table:
    """One row a variant of each recovered cell, the cell alone first; no verdict for damage under ten points."""
    columns = [
        Column("recovery", "recovery", right=False),
        Column("arm", "arm", right=False),
        Column("bytes_total", "size", "MB", 2, 1e-6),
        Column("parameters_extra", "parameters", "extra", 0),
        Column("known_R", "known, R", "%", 1, 100),
        Column("known_U", "known, U", "%", 1, 100),
        Column("returned_unseen", "returned", "unseen, %", 0, 100),
        Column("relearned", "re-learned", "%", 0, 100),
    ]
    table = Table([*cell_columns(tables), *columns])
    for cell in tables.recoveries:
        for recovery in ("none", *arms_of.sorted_recoveries(tables, cell)):
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
                row["arm"] = arms_of.arm(tables, recovery)
                if not arms_of.consults(tables, recovery):  # the table of arms has what these repair
                    row["returned_unseen"] = tables.numbers(quantities.RETURNED, [cell], recovery)[cell]
                    row["relearned"] = tables.numbers(quantities.RELEARNED, [cell], recovery)[cell]
            table.add(row, new_block=recovery == "none")
    return table
