"""Every cell: its size, and what it still knows, with intervals."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Every cell: size, knowledge and perplexity"


def rows(tables: Tables) -> Table:
    """One row a cell, without recovery; every column is filled where the model answers its task, or the table fails."""
    asked = columns_of(tables)
    sizes = [Column("bits_per_weight", "bits", "per weight"), Column("bytes_total", "size", "MB", 2, 1e-6)]
    table = Table([*cell_columns(tables), *sizes, *(column for column, _ in asked)])
    bits, size = tables.measured("bits_per_weight"), tables.measured("bytes_total")
    values = {column.key: tables.numbers(quantity) for column, quantity in asked}
    before = None
    for cell in tables.cells:
        row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
        row |= {"bits_per_weight": bits[cell].value, "bytes_total": size[cell].value}
        row |= {key: numbers.get(cell) for key, numbers in values.items()}
        table.add(row, new_block=before is not None and (cell.model, cell.label) != before, bold=cell.is_dense)
        before = (cell.model, cell.label)
    return table


def columns_of(tables: Tables) -> list[tuple[Column, Quantity]]:
    """The quantities that this study has, each with its column."""
    found = []
    short = {
        "closed book": ("closed book", "%"), "closed book, ranked": ("ranked", "%"),
        "open book, one person": ("open book", "one, %"), "open book, three people": ("open book", "three, %"),
        "prose without facts": ("perplexity", "prose"), "passages about invented people": ("perplexity", "passages"),
        "biographies": ("perplexity", "biographies"),
    }  # fmt: skip
    for quantity in quantities.accuracies(tables):
        title, unit = short.get(quantity.title, (quantity.title, "%"))
        found.append((Column(_key(quantity), title, unit, 1, 100), quantity))
    for quantity in quantities.perplexities(tables):
        title, unit = short.get(quantity.title, ("perplexity", quantity.title))
        found.append((Column(_key(quantity), title, unit, 2), quantity))
    if tables.has(quantities.BITS):
        found.append((Column("knowledge_bits", "knowledge", "bits", 0), quantities.BITS))
    return found


def _key(quantity: Quantity) -> str:
    return quantity.task if quantity.subset == "all" else f"{quantity.task}_{quantity.subset}"
