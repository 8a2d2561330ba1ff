"""What each recovery's arm says: returns that count as displaced, placebos, the dense model, and repairs apart."""

from __future__ import annotations

from palimpsest.presentation import arms_of, quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Arms: what returned about people of whom no text speaks"
SHORT = {"closed_book_mc": "in values, ", "closed_book": "all words, "}


def rows(tables: Tables) -> Table:
    """One row a recovery of each cell, by arm; what looks at the dense weights has columns of its own.

    Changes of known facts stand on the dense model too, where nothing can return.
    """
    tasks = list(arms_of.scored(tables))
    columns = [Column("recovery", "recovery", right=False), Column("arm", "arm", right=False)]
    for task in tasks:
        columns.append(Column(f"change_{task}", "change", f"{SHORT[task]}points", 1, 100))
    for name in ("returned", "repaired"):
        columns += [Column(f"{name}_{task}", name, f"{SHORT[task]}%", 0, 100) for task in tasks]
    table = Table([*cell_columns(tables), *columns])
    for cell in tables.recoveries:
        for number, recovery in enumerate(arms_of.sorted_recoveries(tables, cell)):
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed,
                   "recovery": recovery, "arm": arms_of.arm(tables, recovery)}  # fmt: skip
            apart = arms_of.consults(tables, recovery)
            for task in tasks:
                row[f"change_{task}"] = tables.numbers(arms_of.of(quantities.KNOWN_CHANGE, task), [cell], recovery)[
                    cell
                ]
                if not cell.is_dense:
                    quantity = quantities.REPAIRED[0] if apart else quantities.RETURNED
                    found = tables.numbers(arms_of.of(quantity, task), [cell], recovery)[cell]
                    row[f"{'repaired' if apart else 'returned'}_{task}"] = found
            table.add(row, new_block=number == 0)
    return table
