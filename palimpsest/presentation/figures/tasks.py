"""Every task at a glance: what the dense model reaches, and by how much each cell differs from it."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.figures.flips import GAINED, LOST
from palimpsest.presentation.level_names import level_title

TITLE = "Every task: the dense model, and what cells lose and gain"
ALPHA = 0.05
ROW = 0.19  # inches
LEAST = 10  # points of difference at which the colour is full, at least


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a model, a row a task, a column a cell; filled where the difference is more than chance (Holm)."""
    asked = quantities.judged(tables)
    models = tables.models
    most = max(sum(cell.model == model and not cell.is_dense for cell in tables.cells) for model in models)
    figure = style.new_figure(width, 0.9 + ROW * len(asked) * 1.0)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        cells = [cell for cell in tables.cells if cell.model == model and not cell.is_dense]
        _panel(panel, tables, asked, tables.dense(model), cells, small=most * len(models) > 10)
        if len(models) > 1:
            panel.set_title(model)
    panels[0].set_yticks(range(len(asked)), [quantity.title for quantity in asked])
    return figure


def _panel(panel, tables: Tables, asked: list[Quantity], dense: Cell, cells: list[Cell], small: bool) -> None:
    size = 5.2 if small else 6.5
    table = np.array(
        [[number.value * 100 for number in tables.numbers(quantities.change_of(q), cells).values()] for q in asked]
    )
    sure = np.array(
        [[number.value < ALPHA for number in tables.numbers(quantities.p_of(q), cells).values()] for q in asked]
    )
    colors = LinearSegmentedColormap.from_list("change", [LOST, style.PAPER, GAINED])
    scale = Normalize(-max(LEAST, np.abs(table).max()), max(LEAST, np.abs(table).max()))
    for row, quantity in enumerate(asked):
        reached = tables.numbers(quantity, [dense])[dense].value * 100
        panel.text(0, row, f"{reached:.1f}", ha="center", va="center", fontsize=size, color=style.INK)
        for column in range(len(cells)):
            value, certain = table[row, column], sure[row, column]
            color = colors(scale(value)) if certain else "none"
            panel.add_patch(Rectangle((column + 0.52, row - 0.48), 0.96, 0.96, facecolor=color, edgecolor="none"))
            dark = certain and abs(scale(value) - 0.5) > 0.3
            words = f"{value:+.1f}".replace("-", "−")
            panel.text(
                column + 1, row, words, ha="center", va="center", fontsize=size,
                color=style.PAPER if dark else style.INK if certain else style.EDGE,
            )  # fmt: skip
    panel.set_xlim(-0.5, len(cells) + 0.5)
    panel.set_ylim(len(asked) - 0.5, -0.5)
    names = ["dense (%)"] + [f"{cell.label}\n{level_title(cell.level)}" for cell in cells]
    panel.set_xticks(range(len(names)), names, rotation=0 if len(names) <= 8 else 90)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.grid(visible=False)
    for side in panel.spines.values():
        side.set_visible(False)
    panel.axvline(0.5, color=style.RULE, linewidth=0.8)
