"""Content against leakage: what calibration on facts is worth to people whom the text speaks of, and to the others."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.names import base_label
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Calibration on half of the people: leakage to them, content for the others"


def rows(tables: Tables) -> Table:
    """One row a method and level: leakage, then content over each other calibration; in points of closed book."""
    found = contrasts(tables)
    others = list(dict.fromkeys(name for _, content in found.values() for name in content))
    several = len({model for model, _, _ in found}) > 1
    named = [Column(name, name, right=False) for name in ("model",) * several + ("label", "level")]
    columns = [Column("leakage", "own half", "over other half", 1, 100)]
    columns += [Column(f"over_{name}", "other half", f"over {name}", 1, 100) for name in others]
    table, before = Table([*named, *columns]), None
    for (model, label, level), (leakage, content) in found.items():
        row = {"model": model, "label": label, "level": level, "leakage": leakage}
        table.add(row | {f"over_{name}": content.get(name) for name in others}, new_block=before not in (None, label))
        before = label
    return table


def contrasts(tables: Tables) -> dict[tuple[str, str, str], tuple[Number, dict[str, Number]]]:
    """(model, label without calibration, level) -> leakage, and content by the calibration that it is measured against.

    Where a study has halves in several sizes, each is a calibration of its own name: the first pair's leakage is shown.
    """
    leakage: dict[tuple[str, str, str], Number] = {}
    content: dict[tuple[str, str, str], dict[str, Number]] = {}
    own, over = (tables.where_it_stands(quantity) for quantity in (quantities.LEAKAGE, quantities.CONTENT))
    for cell, name in tables.calibrations.items():
        key = (cell.model, base_label(cell.label, name), cell.level)
        if cell in own:
            leakage.setdefault(key, own[cell])
        if cell in over:
            content.setdefault(key, {}).setdefault(name, over[cell])
    return {key: (number, content.get(key, {})) for key, number in leakage.items()}
