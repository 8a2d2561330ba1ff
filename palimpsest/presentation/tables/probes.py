"""Probes: a row a cell, a column a probe, at the layer where the dense model is read best."""

from __future__ import annotations

from palimpsest.grid import Cell
from palimpsest.presentation import probes_of
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "What linear probes read, at the layer where the dense model is read best"


def rows(tables: Tables) -> Table:
    """Rows: the dense model, random weights, the dense model's control task, then every cell that some probe read."""
    asked = {model: probes_of.readings(tables, model) for model in tables.models}
    titles = dict.fromkeys((reading.task, reading.title) for some in asked.values() for reading in some)
    columns = [Column(task, title, "%", 1, 100) for task, title in titles]
    table = Table([*cell_columns(tables), *columns])
    for model, readings in asked.items():
        dense, layers = tables.dense(model), {r: probes_of.best_layer(tables, r) for r in readings}
        read = {reading: set(probes_of.cells(tables, reading)) for reading in readings}
        some = [cell for cell in tables.cells if cell.model == model and any(cell in found for found in read.values())]
        before = None
        for cell in some:
            table.add(_row(tables, cell, {r: layers[r] for r in readings if cell in read[r]}),
                      new_block=before != cell.label, bold=cell == dense)  # fmt: skip
            before = cell.label
            if cell == dense:
                floors = {r.task: probes_of.floor(tables, r, layers[r]) for r in readings}
                table.add({"model": model, "label": "random weights", "level": "", "seed": 0} | floors)
                controls = {
                    r.task: probes_of.numbers(tables, r, layers[r], [dense], "control_acc")[dense]
                    for r in readings if probes_of.has(tables, r, "control_acc", "dense")
                }  # fmt: skip
                if controls:
                    table.add({"model": model, "label": "control task", "level": "", "seed": 0} | controls)
    return table


def _row(tables: Tables, cell: Cell, layers: dict[probes_of.Reading, int]) -> dict[str, object]:
    row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
    return row | {r.task: probes_of.numbers(tables, r, layer, [cell])[cell] for r, layer in layers.items()}
