"""Which calibration keeps knowledge: the same method and level, calibrated on one text or another."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import level_title, severity
from palimpsest.presentation.names import base_label, sweeps

TITLE = "Closed-book accuracy by calibration"
LEAST_WIDTH = 6  # points: small differences must not look large


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a method and level, a row a calibration, best on average first: the mean over seeds, and each seed."""
    swept = sweeps(tables.calibrations)
    cells: dict[tuple, dict[str, list]] = {}
    answering = tables.answering(quantities.CLOSED_BOOK.task)
    for cell, name in tables.calibrations.items():
        if cell in answering and (base := base_label(cell.label, name)) in swept:
            cells.setdefault((cell.model, base, cell.level), {}).setdefault(name, []).append(cell)
    every = [cell for found in cells.values() for seeds in found.values() for cell in seeds]
    mean = {cell: number.times(100) for cell, number in tables.numbers(quantities.SEED_MEAN, every).items()}
    single = {cell: number.times(100) for cell, number in tables.numbers(quantities.CLOSED_BOOK, every).items()}
    order = _best_first(cells, mean)
    rows = sorted({key[:2] for key in cells}, key=lambda row: [key[:2] for key in cells].index(row))
    levels = {row: sorted((key[2] for key in cells if key[:2] == row), key=severity) for row in rows}
    columns = max(map(len, levels.values())) if width > 5 else 1
    panels_of = [(*row, level) for row in rows for level in levels[row]]
    lines = len(rows) if columns > 1 else len(panels_of)
    figure = style.new_figure(width, 0.6 + lines * (0.42 + 0.15 * len(order)))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    places = [(line, column) for line, row in enumerate(rows) for column in range(len(levels[row]))]
    places = places if columns > 1 else [(line, 0) for line in range(lines)]
    handles: dict[str, object] = {}
    for key, place in zip(panels_of, places, strict=True):
        panel, (model, base, level) = grid[place], key
        look = tables.looks[next(iter(cells[key].values()))[0].label]
        for name, seeds in cells[key].items():
            y, number = order.index(name), mean[seeds[0]]
            below, above = number.errors
            point = panel.errorbar(
                number.value, y, xerr=[[below], [above]], linestyle="none", color=look.color, marker="o", elinewidth=0.9
            )
            handles.setdefault("mean over seeds, 95 % interval", point)
            if len(seeds) > 1:
                each = panel.plot(
                    [single[cell].value for cell in seeds], [y] * len(seeds), "|", color=style.INK, markersize=5,
                    markeredgewidth=0.7,
                )  # fmt: skip
                handles.setdefault("one seed", each[0])
        _widen(panel)
        dense = 100 * tables.numbers(quantities.CLOSED_BOOK, [tables.dense(model)])[tables.dense(model)].value
        if panel.get_xlim()[0] <= dense <= panel.get_xlim()[1]:
            handles.setdefault("dense", panel.axvline(dense, color=style.INK, linewidth=1.0, zorder=0))
        panel.set_title(f"{model} " * (len({row[0] for row in rows}) > 1) + f"{base}, {level_title(level)}")
        panel.set_yticks(range(len(order)), order)
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(len(order) - 0.4, -0.6)
    for line in range(lines):
        for column in range(columns):
            grid[line, column].set_visible((line, column) in places)
    figure.supxlabel("closed book, facts shown (%)", fontsize=7.5)
    style.legend(figure, list(handles.values()), list(handles))
    return figure


def _best_first(cells: dict, mean: dict) -> list[str]:
    """Calibrations by their mean over all panels that have them."""
    values: dict[str, list[float]] = {}
    for found in cells.values():
        middle = sum(mean[seeds[0]].value for seeds in found.values()) / len(found)
        for name, seeds in found.items():
            values.setdefault(name, []).append(mean[seeds[0]].value - middle)
    return sorted(values, key=lambda name: (-sum(values[name]) / len(values[name]), name))


def _widen(panel) -> None:
    low, high = panel.get_xlim()
    missing = max(0.0, LEAST_WIDTH - (high - low)) / 2
    panel.set_xlim(low - missing, min(high + missing, 101))
