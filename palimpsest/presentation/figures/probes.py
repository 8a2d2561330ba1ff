"""What the representations still hold: a linear probe's accuracy by layer, dense and compressed."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.levels_axis import Row, draw_levels

TITLE = "Attribute values that a linear probe reads from the representations"
MOST_LAYERS = 4


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows: layers (for each probe and model); columns: families; random weights and the control task are lines."""
    rows = []
    for model in tables.models:
        cells = [cell for cell in tables.cells if cell.model == model]
        for task in tables.probe_tasks:
            for layer in spread(tables.probe_layers(task, model)):
                accuracy = tables.probed(task, layer, "acc", cells)
                control = tables.probed(task, layer, "control_acc", [tables.dense(model)])
                floors = {
                    "random weights": (100 * tables.probe_floor(task, layer, model).value, style.DOTTED),
                    "control task": (100 * control[tables.dense(model)].value, style.DASHDOT),
                }
                numbers = {cell: number.times(100) for cell, number in accuracy.items()}
                title = f"{task.replace('_', ' ')}, layer {layer}"
                rows.append(Row(model, title, numbers, "probe accuracy (%)", floors=floors))
    return draw_levels(tables, rows, width)


def spread(layers: list[int]) -> list[int]:
    """At most a few layers, evenly spread, the last one among them."""
    if len(layers) <= MOST_LAYERS:
        return layers
    step = (len(layers) - 1) / (MOST_LAYERS - 1)
    return [layers[round(place * step)] for place in range(MOST_LAYERS)]
