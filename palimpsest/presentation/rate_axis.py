"""Panels whose x axis is the rate of low-rank cells: the share of the compressed matrices' bytes that they save."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.analysis.allocated import UNIFORM
from palimpsest.grid import Cell
from palimpsest.presentation import style
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import cell_titles, family
from palimpsest.presentation.summary import few

PANEL = 1.6  # inches: the least width of a panel that can be read
HEIGHT = 1.45
CHARACTERS = 15  # to an inch of the line below the panels
APART = 0.5  # points of rate between the labels at one rate
XLABEL = "bytes of the compressed matrices that are saved (%)"


def low_rank(tables: Tables, model: str) -> list[Cell]:
    """A model's low-rank cells in which every matrix has the cell's level; the others are the figure selective's."""
    return [cell for cell in tables.cells if cell.model == model and is_low_rank(tables, cell)]


def is_low_rank(tables: Tables, cell: Cell) -> bool:
    return not cell.is_dense and family(cell) == "low rank" and tables.allocations.get(cell, UNIFORM) == UNIFORM


def saved(tables: Tables, cells: Iterable[Cell]) -> dict[Cell, float]:
    """Measured, in per cent: 1 - bits per weight over those of the dense model."""
    bits = tables.measured("bits_per_weight")
    return {cell: 100 * (1 - bits[cell].value / bits[tables.dense(cell.model)].value) for cell in cells}


def small_multiples(
    width: float, count: int, most_columns: int = 4, height: float = HEIGHT
) -> tuple[Figure, list[Axes]]:
    """`count` panels that share their x axis, as many beside each other as can be read."""
    columns = max(1, min(count, most_columns, int(width / PANEL)))
    bands = -(-count // columns)
    figure = style.new_figure(width, 0.8 + height * bands)
    panels = list(figure.subplots(bands, columns, squeeze=False, sharex=True).flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    for panel in panels[max(0, count - columns) : count]:
        panel.tick_params(labelbottom=True)
    return figure, panels[:count]


def draw_level(panel: Axes, number: Number) -> object:
    """The dense model: a line with its interval as a band."""
    band = panel.axhspan(number.low, number.high, color=style.EDGE, alpha=0.3, linewidth=0)
    return band, panel.axhline(number.value, color=style.INK, linewidth=1.0)


def draw_floor(panel: Axes, height: float, line: object) -> object:
    return panel.axhline(height, color=style.EDGE, linewidth=1.2, linestyle=line)


def draw_labels(
    panel: Axes, tables: Tables, numbers: Mapping[Cell, Number], start: float | None, of: Mapping[Cell, float]
) -> dict[str, object]:
    """A line a label through its cells, from the dense model's value `start` at rate 0; handles by label.

    Seeds are drawn one by one, and the line runs through their mean.
    """
    return _draw(panel, numbers, of, lambda label: tables.looks[label], start)


def draw_again(panel: Axes, tables: Tables, numbers: Mapping[Cell, Number], of: Mapping[Cell, float]) -> dict:
    """The same of the cells with a recovery: hollow, and dotted lines that do not start at the dense model."""

    def look(label: str) -> style.Look:
        own = tables.looks[label]
        return style.Look(own.color, own.marker, style.DOTTED, "none")

    return _draw(panel, numbers, of, look, None)


def _draw(
    panel: Axes,
    numbers: Mapping[Cell, Number],
    of: Mapping[Cell, float],
    look_of: Callable[[str], style.Look],
    start: float | None,
) -> dict[str, object]:
    labels = list(dict.fromkeys(cell.label for cell in numbers))
    handles = {}
    for place, label in enumerate(labels):
        look = look_of(label)
        shift = (place - (len(labels) - 1) / 2) * APART
        mine = [cell for cell in numbers if cell.label == label and numbers[cell].value == numbers[cell].value]
        for cell in mine:
            arms = [[arm] for arm in numbers[cell].errors]
            handles[label] = panel.errorbar(
                of[cell] + shift, numbers[cell].value, arms, linestyle="none", **look.points
            )
        of_level: dict[str, list[Cell]] = {}
        for cell in mine:
            of_level.setdefault(cell.level, []).append(cell)
        points = sorted(
            (sum(of[cell] for cell in some) / len(some), sum(numbers[cell].value for cell in some) / len(some))
            for some in of_level.values()
        )
        points = [(rate + shift, value) for rate, value in points]
        if start is not None and points:
            points = [(0.0, start), *points]
        if len(points) > 1:
            panel.plot(*zip(*points, strict=True), color=look.color, linestyle=look.line, zorder=1)
    return handles


def finish(figure: Figure, panels: Sequence[Axes], xlabel: str = XLABEL) -> None:
    """Limits that no small difference looks large in, and the name of the x axis."""
    for panel in panels:
        middle = sum(panel.get_ylim()) / 2
        style.at_least(panel, middle - 5, middle + 5)
        panel.set_xlim(left=-1.5)
    figure.supxlabel(xlabel, fontsize=7.5)


def say_absent(figure: Figure, tables: Tables, absent: Sequence[Cell], what: str) -> None:
    """A line below the panels that names the low-rank cells without this, where there are any."""
    if absent:
        names = few(cell_titles(list(dict.fromkeys(absent)), several_models=len(tables.models) > 1))
        characters = int(CHARACTERS * figure.get_figwidth())
        lines = [figure.get_supxlabel(), *textwrap.wrap(f"{what}: {names}", characters)]
        figure.supxlabel("\n".join(filter(None, lines)), fontsize=7.5)


def in_order(tables: Tables, handles: Mapping[str, object], *first: str) -> tuple[list, list[str]]:
    """Handles and names: those named first, labels in the study's order, then the rest."""
    labels = [label for label in tables.labels if label in handles and label != "dense"]
    names = [*(name for name in first if name in handles), *labels]
    names += [name for name in handles if name not in names]
    return [handles[name] for name in names], names
