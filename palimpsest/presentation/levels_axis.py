"""A grid of panels, quantities × families, whose x axis is the levels from mild to harsh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from palimpsest.grid import Cell
from palimpsest.presentation import style
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.level_names import family as family_of
from palimpsest.presentation.level_names import level_title, severity

AXES = {
    "pruning": "pruning: zeros", "low rank": "low rank: kept", "pruning + quantization": "pruning +\nquantization",
}  # fmt: skip
STEP = 0.13  # between the labels at one level, in units of levels
LETTER = 0.054  # inches: the width of a letter of a level's name


@dataclass
class Row:
    """A row of panels: a number for each cell of a model, and lines to compare them with beside the dense model's."""

    model: str
    title: str
    numbers: dict[Cell, Number]
    ylabel: str
    logarithmic: bool = False
    floors: dict[str, tuple[float, object]] = field(default_factory=dict)  # name -> height, line style


def rows_of(tables: Tables, asked: Sequence[Quantity]) -> list[Row]:
    """One row a quantity and model."""
    rows = []
    for model in tables.models:
        for quantity in asked:
            cells = [cell for cell in tables.answering(quantity.task) if cell.model == model]
            if not cells:
                continue
            numbers = tables.numbers(quantity, cells)
            scaled = {cell: number.times(100 if quantity.percent else 1) for cell, number in numbers.items()}
            ylabel = "accuracy (%)" if quantity.percent else "perplexity"
            rows.append(Row(model, quantity.title, scaled, ylabel, logarithmic=not quantity.percent))
    return rows


def draw_levels(tables: Tables, rows: Sequence[Row], width: float) -> Figure:
    """One line of panels a row, one column a family; the dense model is a line with its interval as a band."""
    families = list(dict.fromkeys(family_of(cell) for cell in tables.cells if not cell.is_dense))
    levels = {family: _levels(tables, family) for family in families}
    figure = style.new_figure(width, 0.85 + 1.42 * len(rows))
    axes = figure.subplots(
        len(rows), len(families), squeeze=False, sharey="row", sharex="col",
        gridspec_kw={"width_ratios": [max(1.5, len(levels[family])) for family in families]},
    )  # fmt: skip
    handles: dict[str, object] = {}
    several = len(tables.models) > 1
    for row, line in zip(rows, axes, strict=True):
        for family, panel in zip(families, line, strict=True):
            dense = row.numbers[tables.dense(row.model)]
            if dense.value != dense.value:
                panel.annotate("no numbers", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
            band = panel.axhspan(dense.low, dense.high, color=style.EDGE, alpha=0.3, linewidth=0)
            handles.setdefault("dense", (band, panel.axhline(dense.value, color=style.INK, linewidth=1.0)))
            for name, (height, dashes) in row.floors.items():
                floor = panel.axhline(height, color=style.EDGE, linewidth=1.2, linestyle=dashes)
                handles.setdefault(name, floor)
            handles |= _draw_family(panel, tables, levels[family], row.numbers, family)
        title = f"{row.model}: {row.title}" if several else row.title
        line[0].set_title(title[:1].upper() + title[1:])
        line[0].set_ylabel(row.ylabel)
        if row.logarithmic:
            _logarithmic(line[0])
        else:
            middle = sum(line[0].get_ylim()) / 2
            style.at_least(line[0], middle - 5, middle + 5)
            style.percentages(line[0])
    marks = {family: [_mark(tables, level) for level in levels[family]] for family in families}
    room = (width - 0.25 - 0.15 * len(families)) / sum(max(1.5, len(levels[family])) for family in families)
    upright = room >= LETTER * max(len(line) for some in marks.values() for mark in some for line in mark)
    for family, panel in zip(families, axes[-1], strict=True):
        _name_levels(panel, family, marks[family], upright)
    labels = ["dense", *(label for label in tables.labels if label in handles and label != "dense")]
    order = [*labels, *(name for name in handles if name not in labels)]
    style.legend(figure, [handles[name] for name in order], order)
    return figure


def _levels(tables: Tables, family: str) -> list[str]:
    return sorted({cell.level for cell in tables.cells if family_of(cell) == family}, key=severity)


def _mark(tables: Tables, level: str) -> tuple[str, str]:
    """A level, and its bits per weight."""
    return level_title(level, words=False), tables.bits_per_weight(level)


def _name_levels(panel: Axes, family: str, marks: list[tuple[str, str]], upright: bool) -> None:
    names = ["\n".join(mark) if upright else mark[0] for mark in marks]
    panel.set_xticks(range(len(marks)), names, rotation=0 if upright else 90)
    panel.set_xlabel(AXES.get(family, family) + ("\nbits per weight" if upright else ""))


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
            arms = [[arm] for arm in number.errors]
            x = levels.index(cell.level) + shift
            drawn[label] = panel.errorbar(x, number.value, arms, linestyle="none", **look.points)
        # Lines join levels of one syntax: 2:4 is not the next step after 60 %. Seeds are drawn one by one, the line
        # runs through their mean.
        for _, run in groupby(levels, key=lambda level: severity(level)[0]):
            of_level = {level: [numbers[cell].value for cell in mine if cell.level == level] for level in run}
            points = [
                (levels.index(level) + shift, sum(found) / len(found)) for level, found in of_level.items() if found
            ]
            if len(points) > 1:
                panel.plot(*zip(*points, strict=True), color=look.color, linestyle=look.line, zorder=1)
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
