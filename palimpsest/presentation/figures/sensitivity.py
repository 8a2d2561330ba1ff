"""Which matrix matters: what the model loses when only that one is compressed."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import represented, style
from palimpsest.presentation.data import Tables

TITLE = "What one compressed matrix does to an otherwise dense model"
KINDS = {
    "sensitivity_error": "error of its output (%)",
    "sensitivity_kl": "KL to the dense model (0.001 nats)",
    "sensitivity_state": "change of the last states (%)",
    "sensitivity_probe": "probe accuracy lost (points)",
    "sensitivity_probe_frozen": "the dense model's probe (points)",
}
FACTOR = {"sensitivity_kl": 1000}  # of what is drawn; else 100
MOST_NUMBERS = 12  # blocks, matrices of a map whose values are written in it


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Bands: what is measured, each with a scale of its own; columns: cells. Blocks upwards, matrices to the right."""
    cells = represented.cells_of(tables, "sensitivity")
    shown = kinds(tables)
    columns = min(len(cells), max(1, int((width - 0.8) / 2.4)))
    bands = -(-len(cells) // columns)
    blocks = len(heat(tables, cells[0], *shown[0])[0])
    height = 0.35 + min(3.0, 0.62 + 0.145 * blocks)
    figure = style.new_figure(width, 0.35 + height * bands * len(shown) + 0.35 * bands)
    axes = figure.subplots(len(shown) * bands, columns, squeeze=False)
    for panel in axes.flat:
        panel.set_visible(False)
    names = represented.titles(tables, cells)
    for row, (metric, task) in enumerate(shown):
        words = KINDS[metric].replace(" (", "\n(")
        words = f"{task.replace('_', ' ')}:\n{words}" if metric.startswith("sensitivity_probe") else words
        maps = [heat(tables, cell, metric, task) for cell in cells]
        most = max(float(np.nanmax(found)) for found, _ in maps)
        drawn = None
        for number, ((found, matrices), title) in enumerate(zip(maps, names, strict=True)):
            panel = axes[number // columns * len(shown) + row, number % columns]
            panel.set_visible(True)
            drawn = panel.imshow(
                found, cmap="YlOrRd", vmin=0, vmax=most, origin="lower", aspect="auto", interpolation="nearest"
            )
            panel.grid(visible=False)
            panel.tick_params(length=0, labelsize=6)
            last = row == len(shown) - 1
            panel.set_xticks(
                range(len(matrices)), [_short(name) for name in matrices] if last else [""] * len(matrices)
            )
            panel.tick_params(axis="x", rotation=35)
            panel.set_yticks(range(len(found)), [str(block) for block in range(1, len(found) + 1)])
            if len(found) > MOST_NUMBERS:
                panel.set_yticks([0, len(found) - 1], ["1", str(len(found))])
            if row == 0:
                panel.set_title(title, fontsize=7)
            if number % columns == 0:
                panel.set_ylabel("block", fontsize=7)
            if len(found) <= MOST_NUMBERS and columns * len(matrices) <= 3 * MOST_NUMBERS:
                for (block, place), value in np.ndenumerate(found):
                    color = "white" if value > 0.6 * most else style.INK
                    panel.text(place, block, _number(value), ha="center", va="center", fontsize=5.5, color=color)
        for band in range(bands):
            bar = figure.colorbar(drawn, ax=axes[band * len(shown) + row], fraction=0.05, pad=0.01, aspect=12)
            bar.set_label(words, fontsize=6.5)
            bar.ax.tick_params(labelsize=6)
    return figure


def kinds(tables: Tables) -> list[tuple[str, str]]:
    """What was measured, and on which texts or by which probe, in the order of KINDS."""
    rows = tables.representation
    rows = rows[rows["scoring"] == "sensitivity"]
    found = dict.fromkeys(rows[["metric", "task"]].itertuples(index=False, name=None))
    return sorted(found, key=lambda pair: (list(KINDS).index(pair[0]), pair[1]))


def heat(tables: Tables, cell: Cell, metric: str, task: str) -> tuple[np.ndarray, list[str]]:
    """(blocks, matrices), and the matrices' names; not a number where a matrix is not compressed."""
    found = represented.numbers(tables, cell, "sensitivity", metric, task)
    found = {key: number for key, number in found.items() if key[0] != "all"}
    matrices = represented.matrices(found)
    blocks = max(int(layer) for layer, _ in found)
    factor = FACTOR.get(metric, 100)
    return np.array([
        [factor * found[key].value if (key := (str(block), name)) in found else np.nan for name in matrices]
        for block in range(1, blocks + 1)
    ]), matrices  # fmt: skip


def _short(name: str) -> str:
    return name.removesuffix("_proj").removesuffix(".dense")


def _number(value: float) -> str:
    if value != value:
        return ""
    return f"{value:.0f}" if abs(value) >= 9.5 else f"{value:.1f}".replace("-", "−")
