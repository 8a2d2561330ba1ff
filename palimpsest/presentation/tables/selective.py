"""Selective compression at equal parameters: each allocation beside the cell where every matrix has the level."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures.selective import blocks
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Allocations at one level: parameters, and what is left"


def rows(tables: Tables) -> Table:
    """A block a method and level, uniform first; parameters over the uniform cell's, then accuracy and perplexity."""
    accuracy = quantities.accuracies(tables)[:1]
    texts = quantities.perplexities(tables, subsets=quantities.WITHOUT_KNOWN_FACTS)[:1]
    columns = [
        Column("allocation", "allocation", right=False),
        Column("parameters", "parameters", "of uniform's, %", 1, 100),
        *(Column("accuracy", one.title, "%", 1, 100) for one in accuracy),
        *(Column("change", "over uniform", "points", 1, 100) for _ in accuracy),
        *(Column("perplexity", "perplexity", one.title, 2) for one in texts),
        *(Column("ratio", "over uniform's", "", 3) for _ in texts),
    ]
    table = Table([*cell_columns(tables), *columns])
    metrics = tables.metrics
    for block in blocks(tables):
        values = {"accuracy": accuracy, "perplexity": texts}
        found = {key: tables.numbers(one, block.cells) for key, some in values.items() for one in some}
        for key, metric, some in (("change", "minus_uniform", accuracy), ("ratio", "perplexity_over_uniform", texts)):
            for one in some:
                if (metrics["metric"] == metric).any():
                    asked = quantities.Quantity(one.title, one.task, metric, subset=one.subset)
                    found[key] = tables.numbers(asked, block.cells[1:])
        for cell, name, parameters in zip(block.cells, block.names, block.parameters, strict=True):
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
            row |= {"allocation": name, "parameters": parameters}
            row |= {key: numbers.get(cell) for key, numbers in found.items()}
            table.add(row, new_block=cell == block.cells[0], bold=cell == block.cells[0])
    return table
