"""What recoveries cost in parameters: what cells know with each of them, against the parameters that it adds."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "What cells know with recoveries of different sizes"


def shown(tables: Tables) -> list[Quantity]:
    """What is set against costs: known facts of pool U and all facts, or a study's first accuracy."""
    world = [quantities.POOLS["U"], quantities.CLOSED_BOOK]
    return [quantity for quantity in world if tables.has(quantity)] or [
        quantity for quantity in quantities.accuracies(tables) if quantity.task == tables.recovery_task
    ][:1]


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A column of panels a cell, a row a measure of knowledge; x: extra parameters; the dense model is a line."""
    cells, asked = tables.recoveries, shown(tables)
    figure, panels = grid_of_panels(cells, asked, width)
    looks = style.recovery_looks({name for names in cells.values() for name in names})
    handles: dict[str, object] = {}
    for (cell, recoveries), column in zip(cells.items(), panels, strict=True):
        for quantity, panel in zip(asked, column, strict=True):
            handles |= levels(panel, tables, cell, quantity)
            for recovery in recoveries:
                number = tables.numbers(quantity, [cell], recovery)[cell].times(100)
                arms = [[arm] for arm in number.errors]
                extra = tables.extra_parameters(cell, recovery)
                look = looks[recovery]
                handles[recovery] = panel.errorbar(extra, number.value, arms, linestyle="none", **look.points)
            _parameters(panel, [tables.extra_parameters(cell, recovery) for recovery in recoveries])
    finish(figure, cells, asked, panels, "extra parameters", several_models=len(tables.models) > 1)
    style.legend(figure, *in_order(handles))
    return figure


def grid_of_panels(
    cells: dict[Cell, list[str]], asked: list[Quantity], width: float
) -> tuple[Figure, list[list[Axes]]]:
    """The panels of each cell, a quantity each: beside each other as many cells as the width holds."""
    columns = min(len(cells), max(1, int(width / 1.6)))
    bands = -(-len(cells) // columns)
    figure = style.new_figure(width, 0.9 + 1.6 * bands * len(asked))
    axes = figure.subplots(bands * len(asked), columns, squeeze=False)
    for unused in range(len(cells), bands * columns):
        for row in range(len(asked)):
            axes[(unused // columns) * len(asked) + row, unused % columns].set_visible(False)
    for band in range(bands):
        for row in range(len(asked)):
            line = axes[band * len(asked) + row]
            for panel in line[1:]:
                panel.sharey(line[0])
                panel.tick_params(labelleft=False)
    return figure, [
        [axes[(number // columns) * len(asked) + row, number % columns] for row in range(len(asked))]
        for number in range(len(cells))
    ]


def levels(panel: Axes, tables: Tables, cell: Cell, quantity: Quantity) -> dict[str, object]:
    """Lines for the dense model and for the cell alone, with its interval as a band."""
    dense = tables.dense(cell.model)
    handles = {"dense": panel.axhline(100 * tables.numbers(quantity, [dense])[dense].value, color=style.INK)}
    if cell.is_dense:
        return handles
    alone = tables.numbers(quantity, [cell])[cell].times(100)
    band = panel.axhspan(alone.low, alone.high, color=style.EDGE, alpha=0.25, linewidth=0)
    line = panel.axhline(alone.value, color=style.EDGE, linewidth=1.2, linestyle=style.DASHED)
    return handles | {"cell alone": (band, line)}


def finish(
    figure: Figure,
    cells: dict[Cell, list[str]],
    asked: list[Quantity],
    panels: list[list[Axes]],
    xlabel: str,
    several_models: bool,
) -> None:
    """Titles, and the names of the axes where they stand for all panels."""
    for title, column in zip(cell_titles(list(cells), several_models), panels, strict=True):
        column[0].set_title(title)
        for quantity, panel in zip(asked, column, strict=True):
            middle = sum(panel.get_ylim()) / 2
            style.at_least(panel, middle - 5, middle + 5)
            if panel.get_subplotspec().is_first_col():
                panel.set_ylabel(f"{quantity.title} (%)".replace(", ", ",\n"))
    figure.supxlabel(xlabel, fontsize=7.5)


def in_order(handles: dict[str, object]) -> tuple[list, list[str]]:
    lines = [name for name in ("dense", "cell alone") if name in handles]
    order = [*lines, *sorted(handles.keys() - lines)]
    return [handles[name] for name in order], order


def _parameters(panel: Axes, counts: list[float]) -> None:
    """A logarithmic axis of numbers of parameters, with a place for none."""
    some = [count for count in counts if count]
    low, high = (min(some), max(some)) if some else (1, 10)
    start = 10 ** (len(str(int(low))) - 1)
    panel.set_xscale("symlog", linthresh=start, linscale=0.4)
    panel.set_xlim(-0.25 * start, 2.2 * high)
    ticks = [0, *(start * 10**power for power in range(8) if start * 10**power <= 2.2 * high)]
    panel.set_xticks(ticks)
    panel.xaxis.set_major_formatter(FuncFormatter(_count))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _count(value: float, _: int) -> str:
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"
