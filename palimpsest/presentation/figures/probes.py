"""What the representations still hold: accuracy by layer, dense and compressed, of the probes that read every cell."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import probes_of, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.levels_axis import Row, draw_levels
from palimpsest.presentation.probes_of import Reading

TITLE = "What probes read from the representations of every cell"
MOST_LAYERS, MOST_PROBES, FEW_PROBES = 4, 6, 2  # layers of one probe; probes; so few that each has several layers


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows: layers (for each probe and model); columns: families; random weights and the control task are lines."""
    rows = []
    readings = shown(probes_of.of_all(tables))
    for reading in readings:
        cells, dense = probes_of.cells(tables, reading), tables.dense(reading.model)
        best = [probes_of.best_layer(tables, reading)]
        for layer in spread(probes_of.layers(tables, reading)) if len(readings) <= FEW_PROBES else best:
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


def shown(readings: list[Reading]) -> list[Reading]:
    """All of a few probes; of many those of questions and words first, since the figure of rates has the sentences."""
    return sorted(readings, key=lambda reading: reading.subset != "all")[:MOST_PROBES]


def spread(layers: list[int]) -> list[int]:
    """At most a few layers, evenly spread, the last one among them."""
    if len(layers) <= MOST_LAYERS:
        return layers
    step = (len(layers) - 1) / (MOST_LAYERS - 1)
    return [layers[round(place * step)] for place in range(MOST_LAYERS)]
