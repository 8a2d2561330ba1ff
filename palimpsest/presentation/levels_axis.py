"""A grid of panels, quantities × families, whose x axis is the levels from mild to harsh."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from palimpsest.grid import Cell
from palimpsest.presentation import style
from palimpsest.presentation.data import Number, Quantity, Tables, level_title, severity
from palimpsest.presentation.data import family as family_of

AXES = {"pruning": "pruning: zeros", "quantization": "quantization", "low rank": "low rank: kept"}
STEP = 0.13  # between the labels at one level, in units of levels


def draw_levels(tables: Tables, asked: Sequence[Quantity], width: float) -> Figure:
    """One row a quantity and model, one column a family; the dense model is a line with its interval as a band."""
    rows = [(model, quantity) for model in tables.models for quantity in asked]
    families = list(dict.fromkeys(family_of(cell) for cell in tables.cells if not cell.is_dense))
    levels = {family: _levels(tables, family) for family in families}
    figure = style.new_figure(width, 0.75 + 1.42 * len(rows))
    axes = figure.subplots(
        len(rows), len(families), squeeze=False, sharey="row", sharex="col",
        gridspec_kw={"width_ratios": [max(1.5, len(levels[family])) for family in families]},
    )  # fmt: skip
    handles: dict[str, object] = {}
    several = len(tables.models) > 1
    for (model, quantity), line in zip(rows, axes, strict=True):
        cells = [cell for cell in tables.cells if cell.model == model]
        numbers = {cell: number.times(100 if quantity.percent else 1) for cell, number in tables.numbers(quantity, cells).items()}
        for family, panel in zip(families, line, strict=True):
            dense = numbers[tables.dense(model)]
            band = panel.axhspan(dense.low, dense.high, color=style.EDGE, alpha=0.3, linewidth=0)
            handles.setdefault("dense", (band, panel.axhline(dense.value, color=style.INK, linewidth=1.0)))
            handles |= _draw_family(panel, tables, levels[family], numbers, family)
        title = f"{model}: {quantity.title}" if several else quantity.title
        line[0].set_title(title[:1].upper() + title[1:])
        line[0].set_ylabel("accuracy (%)" if quantity.percent else "perplexity")
        if not quantity.percent:
            _logarithmic(line[0])
    for family, panel in zip(families, axes[-1], strict=True):
        marks = [level_title(level, words=False) for level in levels[family]]
        if len(marks) <= 7:
            marks = [f"{mark}\n{tables.bits_per_weight(level)}" for mark, level in zip(marks, levels[family], strict=True)]
        panel.set_xticks(range(len(marks)), marks, rotation=90 if len(marks) > 7 else 0)
        panel.set_xlabel(AXES.get(family, family))
    order = ["dense", *(label for label in tables.labels if label in handles and label != "dense")]
    style.legend(figure, [handles[label] for label in order], order)
    return figure


def _levels(tables: Tables, family: str) -> list[str]:
    return sorted({cell.level for cell in tables.cells if family_of(cell) == family}, key=severity)


def _draw_family(panel: Axes, tables: Tables, levels: list[str], numbers: dict[Cell, Number], family: str) -> dict:
    cells = [cell for cell in numbers if not cell.is_dense and family_of(cell) == family]
    labels = list(dict.fromkeys(cell.label for cell in cells))
    drawn = {}
    for place, label in enumerate(labels):
        look = tables.looks[label]
        shift = (place - (len(labels) - 1) / 2) * min(STEP, 0.6 / len(labels))
        mine = [cell for cell in cells if cell.label == label]
        for cell in mine:
            number = numbers[cell]
            below, above = number.errors
            point = panel.errorbar(levels.index(cell.level) + shift, number.value, [[below], [above]], linestyle="none", **look.points)
            drawn.setdefault(label, point)
        # Lines join levels of one syntax: 2:4 is not the next step after 60 %.
        for _, run in groupby(levels, key=lambda level: severity(level)[0]):
            points = [(levels.index(level) + shift, [numbers[cell].value for cell in mine if cell.level == level]) for level in run]
            points = [(x, sum(values) / len(values)) for x, values in points if values]
            panel.plot(*zip(*points, strict=True), color=look.color, linestyle=look.line, zorder=1) if len(points) > 1 else None
    panel.set_xlim(-0.5, max(len(levels) - 0.5, 0.5))
    panel.grid(axis="x", visible=False)
    return drawn


def _logarithmic(panel: Axes) -> None:
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    subs = (1, 2, 5) if high / low > 4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    panel.yaxis.set_major_locator(LogLocator(10, subs=subs))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
