"""Which layers of a compressed model still resemble which layers of the dense one."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import represented, style
from palimpsest.presentation.data import Tables

TITLE = "Likeness of every layer to every layer of the dense model (linear CKA)"
PANEL = 1.5  # inches
MOST_NUMBERS = 7  # layers of a map whose values are written in it
DARK = 0.55  # from this value on words are white


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A map a cell: the dense model's layers upwards, the cell's to the right; one scale."""
    cells = represented.cells_of(tables, "cka")
    columns = max(1, min(len(cells), int((width - 0.5) / PANEL)))
    bands = -(-len(cells) // columns)
    columns = -(-len(cells) // bands)
    figure = style.new_figure(width, 0.55 + bands * (min(PANEL, (width - 0.7) / columns) + 0.35))
    axes = figure.subplots(bands, columns, squeeze=False)
    drawn = None
    for panel in axes.flat[len(cells) :]:
        panel.set_visible(False)
    for panel, cell, title in zip(axes.flat, cells, represented.titles(tables, cells), strict=False):
        found = layers(tables, cell)
        drawn = panel.imshow(found, cmap="YlGnBu", vmin=0, vmax=1, origin="lower", interpolation="nearest")
        panel.set_title(title, fontsize=7)
        panel.grid(visible=False)
        panel.tick_params(length=0, labelsize=6)
        height, length = found.shape
        panel.set_xticks(_ticks(length))
        panel.set_yticks(_ticks(height))
        if max(found.shape) <= MOST_NUMBERS:
            for (row, column), value in np.ndenumerate(found):
                color = "white" if value > DARK else style.INK
                panel.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=5.5, color=color)
    figure.supxlabel("layer of the cell (0: embeddings)", fontsize=7.5)
    figure.supylabel("layer of the dense model", fontsize=7.5)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.01, aspect=35)
    bar.set_label("linear CKA", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    return figure


def layers(tables: Tables, cell: Cell) -> np.ndarray:
    """(layers of the dense model, layers of the cell)."""
    found = represented.numbers(tables, cell, "cka", "cka", represented.texts_of(tables, "cka"))
    places = {
        (int(part.removeprefix("dense layer ")), int(layer)): number.value for (layer, part), number in found.items()
    }
    height, length = (max(ends) + 1 for ends in zip(*places, strict=True))
    return np.array([[places[row, column] for column in range(length)] for row in range(height)])


def _ticks(count: int) -> list[int]:
    step = -(-count // 7)
    return list(range(0, count, step))
