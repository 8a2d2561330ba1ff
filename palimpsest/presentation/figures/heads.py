"""Which attention heads a recovery brings nearer to the dense model's, and which it takes further away."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import head_maps, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures.regimes import compared, task_of
from palimpsest.presentation.level_names import cell_titles

TITLE = "Attention heads that recoveries bring nearer to the dense model"
LETTER, MARGIN, BESIDE = 0.06, 0.12, 0.9  # inches: a letter of a title, between titles, and left and right of all maps
METRIC = "attention_js_towards_dense"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A map a cell and recovery: blocks upwards, heads to the right; blue is nearer than the cell alone."""
    cells = compared(tables)
    most = max(map(len, cells.values()))
    names = {name for recoveries in cells.values() for name in recoveries}
    columns = min(most, max(1, int((width - BESIDE) / (MARGIN + LETTER * max(map(len, names))))))
    bands = -(-most // columns)
    columns = -(-most // bands)
    figure = style.new_figure(width, max(2.0, 0.6 + 1.02 * len(cells) * bands))
    axes = figure.subplots(len(cells) * bands, columns, squeeze=False)
    maps = {(cell, recovery): heads(tables, cell, recovery) for cell, names in cells.items() for recovery in names}
    far = max(float(np.abs(found).max()) for found in maps.values()) or 1.0
    titles = cell_titles(list(cells), several_models=len(tables.models) > 1)
    drawn = None
    for row, ((cell, recoveries), title) in enumerate(zip(cells.items(), titles, strict=True)):
        for number in range(bands * columns):
            panel = axes[row * bands + number // columns, number % columns]
            if number >= len(recoveries):
                panel.set_visible(False)
                continue
            found = maps[cell, recoveries[number]]
            norm = TwoSlopeNorm(0, -far, far)
            drawn = panel.imshow(found, cmap="RdBu", norm=norm, origin="lower", aspect="auto", interpolation="nearest")
            panel.set_title(recoveries[number], fontsize=6.5)
            head_maps.frame(panel, found.shape, leftmost=number % columns == 0)
            if number % columns == 0:
                panel.set_ylabel(f"{title}\nblock", fontsize=7)
    head_maps.finish(figure, axes, drawn, "bits nearer to the\ndense model's attention")
    return figure


def heads(tables: Tables, cell: Cell, recovery: str) -> np.ndarray:
    """(blocks, heads): by how many bits a head's attention is nearer to the dense model's than in the cell alone."""
    found = tables.similar(task_of(tables), METRIC, cell, recovery)
    places = {(int(layer), int(subset.removeprefix("head "))): number.value
              for (layer, subset), number in found.items() if subset.startswith("head ")}  # fmt: skip
    blocks, width = (max(ends) for ends in zip(*places, strict=True))
    return np.array([[places[block, head] for head in range(width + 1)] for block in range(1, blocks + 1)])
