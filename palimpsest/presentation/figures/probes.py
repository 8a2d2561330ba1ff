"""What the representations still hold: accuracy by layer, dense and compressed, of the probes that read every cell."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import probes_of, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.levels_axis import Row, draw_levels

TITLE = "What probes read from the representations of every cell"
MOST_LAYERS = 4


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows: layers (for each probe and model); columns: families; random weights and the control task are lines."""
    rows = []
    for reading in probes_of.of_all(tables):
        cells, dense = probes_of.cells(tables, reading), tables.dense(reading.model)
        for layer in spread(probes_of.layers(tables, reading)):
            found = probes_of.numbers(tables, reading, layer, cells)
            floors = {}
            if floor := probes_of.floor(tables, reading, layer):
                floors["random weights"] = (100 * floor.value, style.DOTTED)
            if probes_of.has(tables, reading, "control_acc", "dense"):
                control = probes_of.numbers(tables, reading, layer, [dense], "control_acc")[dense]
                floors["control task"] = (100 * control.value, style.DASHDOT)
            numbers = {cell: number.times(100) for cell, number in found.items()}
            title = f"{reading.title}, layer {layer}"
            rows.append(Row(reading.model, title, numbers, reading.axis, floors=floors))
    if not rows:
        return style.nothing_to_draw(width, "No probe read every cell.")
    return draw_levels(tables, rows, width)


def spread(layers: list[int]) -> list[int]:
    """At most a few layers, evenly spread, the last one among them."""
    if len(layers) <= MOST_LAYERS:
        return layers
    step = (len(layers) - 1) / (MOST_LAYERS - 1)
    return [layers[round(place * step)] for place in range(MOST_LAYERS)]
