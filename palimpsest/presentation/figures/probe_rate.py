"""What probes read of low-rank cells at each rate."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import probes_of, rate_axis, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.probes_of import Reading

TITLE = "Probe accuracy against rate, for each low-rank algorithm"


def panels_of(tables: Tables, metric: str | None = None) -> list[Reading]:
    """The probes that read low-rank cells, and have that metric."""
    found = [reading for model in tables.models for reading in probes_of.readings(tables, model)]
    return [
        reading for reading in found
        if probes_of.low_rank(tables, reading) and probes_of.has(tables, reading, metric, "dense")
    ]  # fmt: skip


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a probe, at the layer where the dense model is read best; random weights are a line."""
    return draw_metric(tables, width, None)


def draw_metric(tables: Tables, width: float, metric: str | None) -> Figure:
    """The same of any metric of probes; None for their score."""
    asked = panels_of(tables, metric)
    if not asked:
        return style.nothing_to_draw(width, "No probe read a low-rank cell.")
    figure, panels = rate_axis.small_multiples(width, len(asked))
    handles: dict[str, object] = {}
    absent: list[Cell] = []
    for panel, reading in zip(panels, asked, strict=True):
        layer, cells = probes_of.best_layer(tables, reading), probes_of.low_rank(tables, reading)
        dense = tables.dense(reading.model)
        found = probes_of.numbers(tables, reading, layer, [dense, *cells], metric)
        numbers = {cell: number.times(100) for cell, number in found.items()}
        handles["dense"] = rate_axis.draw_level(panel, numbers[dense])
        if floor := probes_of.floor(tables, reading, layer, metric):
            handles["random weights"] = rate_axis.draw_floor(panel, 100 * floor.value, style.DOTTED)
        if metric is None and probes_of.has(tables, reading, "control_acc", "dense"):
            control = probes_of.numbers(tables, reading, layer, [dense], "control_acc")[dense]
            handles["control task"] = rate_axis.draw_floor(panel, 100 * control.value, style.DASHDOT)
        if metric is None and (known := probes_of.baseline(tables, reading)):
            handles[known[0]] = rate_axis.draw_floor(panel, 100 * known[1].value, style.DASHED)
        of_cells = {cell: numbers[cell] for cell in cells}
        handles |= rate_axis.draw_labels(panel, tables, of_cells, numbers[dense].value, rate_axis.saved(tables, cells))
        absent += probes_of.unread(tables, reading)
        panel.set_title(f"{titled(reading, asked)}\nlayer {layer}", fontsize=6.8)
    name_axes(panels, [reading.axis if metric is None else "selectivity (points)" for reading in asked])
    rate_axis.finish(figure, panels)
    if metric is None:
        for panel in panels:
            style.percentages(panel)
    rate_axis.say_absent(figure, tables, absent, "not probed, or not by all")
    style.legend(figure, *rate_axis.in_order(tables, handles, "dense"))
    return figure


def titled(reading: Reading, asked: list[Reading]) -> str:
    """A probe in words, under its model where the panels are of several."""
    several = len({other.model for other in asked}) > 1
    return f"{reading.model}\n{reading.title}" if several else reading.title


def name_axes(panels: list, names: list[str]) -> None:
    """The name of the y axis at the left, and again where it is another one."""
    for panel, name in zip(panels, names, strict=True):
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel(name)
