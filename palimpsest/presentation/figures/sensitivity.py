"""Which matrix matters: what the model loses when only that one is compressed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from palimpsest.grid import Cell
from palimpsest.presentation import represented, style
from palimpsest.presentation.data import Tables

TITLE = "What one compressed matrix does to an otherwise dense model"
KINDS = {
    "sensitivity_error": "error of its output (%)",
    "sensitivity_kl": "KL to the dense model (0.001 nats)",
    "sensitivity_state": "change of the last states (%)",
    "sensitivity_probe": "new probe loses (points)",
    "sensitivity_probe_frozen": "dense probe loses (points)",
}
FACTOR = {"sensitivity_kl": 1000}  # of what is drawn; else 100
MOST_NUMBERS = 12  # blocks of a map whose values are written in it …
MOST_WORDS = 24  # … and matrices beside each other


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Bands: what is measured, each with a scale of its own; columns: cells. Blocks upwards, matrices to the right."""
    cells = represented.cells_of(tables, "sensitivity")
    shown = kinds(tables)
    maps = {
        (cell, kind): Map.of(tables, cell, *kind) for cell in cells for kind, models in shown.items()
        if cell.model in models
    }  # fmt: skip
    columns = min(len(cells), max(1, int((width - 0.8) / 2.4)))
    bands = -(-len(cells) // columns)
    blocks = max(len(each.values) for each in maps.values())
    height = 0.35 + min(3.0, 0.62 + 0.145 * blocks)
    figure = style.new_figure(width, 0.35 + height * bands * len(shown) + 0.35 * bands)
    axes = figure.subplots(len(shown) * bands, columns, squeeze=False)
    for panel in axes.flat:
        panel.set_visible(False)
    titles = represented.titles(tables, cells)
    for row, kind in enumerate(shown):
        # All probes have one scale: a point is a point.
        alike = [each for (_, (metric, _)), each in maps.items() if metric[:17] == kind[0][:17]]
        most = max(float(np.nanmax(each.values)) for each in alike)
        for number, (cell, title) in enumerate(zip(cells, titles, strict=True)):
            if (cell, kind) not in maps:
                continue
            panel = axes[number // columns * len(shown) + row, number % columns]
            panel.set_visible(True)
            drawn = _draw(
                panel, maps[cell, kind], most, numbered=columns * len(maps[cell, kind].matrices) <= MOST_WORDS
            )
            if row < len(shown) - 1:
                panel.tick_params(labelbottom=False)
            if row == 0:
                panel.set_title(title, fontsize=7)
            if number % columns == 0:
                panel.set_ylabel("block", fontsize=7)
            if number % columns == min(columns, len(cells)) - 1 or number == len(cells) - 1:
                bar = figure.colorbar(
                    drawn, ax=axes[number // columns * len(shown) + row], fraction=0.05, pad=0.01, aspect=12
                )
                bar.set_label(_words(*kind), fontsize=6.5)
                bar.ax.tick_params(labelsize=6)
    return figure


@dataclass(frozen=True)
class Map:
    """One measure of one cell, (blocks, matrices); not a number where a matrix is not compressed."""

    values: np.ndarray
    certain: np.ndarray  # where the interval leaves out 0
    matrices: list[str]

    @classmethod
    def of(cls, tables: Tables, cell: Cell, metric: str, task: str) -> Map:
        found = represented.numbers(tables, cell, "sensitivity", metric, task)
        found = {key: number for key, number in found.items() if key[0] != "all"}
        matrices, factor = represented.matrices(found), FACTOR.get(metric, 100)
        places = [[found.get((str(block), name)) for name in matrices]
                  for block in range(1, max(int(layer) for layer, _ in found) + 1)]  # fmt: skip
        values = [[np.nan if each is None else factor * each.value for each in row] for row in places]
        certain = [[each is not None and not each.low <= 0 <= each.high for each in row] for row in places]
        return cls(np.array(values), np.array(certain), matrices)


def _draw(panel: Axes, drawn: Map, most: float, numbered: bool) -> AxesImage:
    image = panel.imshow(
        drawn.values, cmap="YlOrRd", vmin=0, vmax=most, origin="lower", aspect="auto", interpolation="nearest"
    )
    panel.grid(visible=False)
    panel.tick_params(length=0, labelsize=6)
    panel.set_xticks(range(len(drawn.matrices)), [_short(name) for name in drawn.matrices])
    panel.tick_params(axis="x", rotation=35)
    blocks = len(drawn.values)
    panel.set_yticks(range(blocks), [str(block) for block in range(1, blocks + 1)])
    if blocks > MOST_NUMBERS:
        panel.set_yticks([0, blocks - 1], ["1", str(blocks)])
    elif numbered:
        for (block, place), value in np.ndenumerate(drawn.values):
            color = "white" if value > 0.6 * most else style.INK
            color = color if drawn.certain[block, place] else style.EDGE
            panel.text(place, block, _number(value), ha="center", va="center", fontsize=5.5, color=color)
    return image


def _words(metric: str, task: str) -> str:
    words = KINDS[metric].replace(" (", "\n(")
    return f"{task.replace('_', ' ')}:\n{words}" if metric.startswith("sensitivity_probe") else words


def kinds(tables: Tables) -> dict[tuple[str, str], set[str]]:
    """(what was measured, on which texts or by which probe) -> of which models, in the order of KINDS."""
    rows = tables.representation
    rows = rows[rows["scoring"] == "sensitivity"]
    found: dict[tuple[str, str], set[str]] = {}
    for metric, task, model in rows[["metric", "task", "model"]].itertuples(index=False, name=None):
        found.setdefault((metric, task), set()).add(model)
    return dict(sorted(found.items(), key=lambda item: (list(KINDS).index(item[0][0]), item[0][1])))


def _short(name: str) -> str:
    return name.removesuffix("_proj").removesuffix(".dense")


def _number(value: float) -> str:
    if value != value:
        return ""
    return f"{value:.0f}" if abs(value) >= 9.5 else f"{value:.1f}".replace("-", "−")
