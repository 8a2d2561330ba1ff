"""Selective compression at equal parameters: each allocation beside the cell where every matrix has the level."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.figures.selective import measures, shown
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Allocations at one level: size, and what is left"


def rows(tables: Tables) -> Table:
    """A block a method and level, uniform first; size over the uniform cell's, then accuracy and perplexity."""
    columns = [
        Column("allocation", "allocation", right=False),
        Column("size", "size", "of uniform's, %", 1, 100),
        Column("task", "task", right=False),
        Column("accuracy", "accuracy", "%", 1, 100),
        Column("change", "over uniform", "points", 1, 100),
    ]
    texts = quantities.perplexities(tables, subsets=quantities.WITHOUT_KNOWN_FACTS)[:1]
    if texts:
        columns += [Column("perplexity", "perplexity", texts[0].title, 2), Column("ratio", "over uniform's", "", 3)]
    table = Table([*cell_columns(tables), *columns])
    for block in shown(tables):
        found = {}
        accuracy, perplexity = measures(tables, block)
        if accuracy:
            whole = next(one for one in quantities.accuracies(tables) if _same(one, accuracy[0]))
            found |= {"accuracy": tables.numbers(whole, block.cells)}
            found |= {"change": tables.numbers(accuracy[0], block.cells[1:])}
        if perplexity:
            found |= {"perplexity": tables.numbers(texts[0], block.cells)}
            found |= {"ratio": tables.numbers(perplexity[0], block.cells[1:])}
        for cell, name, size in zip(block.cells, block.names, block.sizes, strict=True):
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
            row |= {"allocation": name, "size": size, "task": accuracy and accuracy[0].title}
            row |= {key: numbers.get(cell) for key, numbers in found.items()}
            table.add(row, new_block=cell == block.cells[0], bold=cell == block.cells[0])
    return table


def _same(one: Quantity, other: Quantity) -> bool:
    return (one.task, one.subset) == (other.task, other.subset)
