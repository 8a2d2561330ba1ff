"""Every task at a glance: what the dense model reaches, and by how much each cell differs from it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.figures.flips import GAINED, LOST
from palimpsest.presentation.level_names import level_title

TITLE = "Every task: the dense model, and what cells lose and gain"
CENTRED = {"ha": "center", "va": "center", "fontsize": 6.5}
ALPHA = 0.05
ROW = 0.19  # inches
NAMES = 1.25  # inches that the names of tasks take
LEAST = 10  # points of difference at which the colour is full, at least


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a model, a row a task, a column a cell; filled where the difference is more than chance (Holm)."""
    asked = quantities.judged(tables)
    cells = {model: [c for c in tables.cells if c.model == model and not c.is_dense] for model in tables.models}
    column = 72 * (width - NAMES) / sum(1 + len(some) for some in cells.values())  # points
    upright, decimals = column < 38, 1 if column > 23 else 0 if column > 15 else None
    figure = style.new_figure(width, (1.3 if upright else 0.75) + ROW * len(asked))
    shares = [1 + len(some) for some in cells.values()]
    panels = figure.subplots(1, len(cells), squeeze=False, sharey=True, width_ratios=shares)[0]
    for panel, (model, some) in zip(panels, cells.items(), strict=True):
        _panel(panel, tables, asked, tables.dense(model), some, decimals)
        names = ["dense (%)"] + [f"{cell.label}{' ' if upright else chr(10)}{level_title(cell.level)}" for cell in some]
        panel.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        if len(cells) > 1:
            panel.set_xlabel(model)
    panels[0].set_yticks(range(len(asked)), [quantity.title for quantity in asked])
    return figure


def _panel(
    panel: Axes, tables: Tables, asked: list[Quantity], dense: Cell, cells: list[Cell], decimals: int | None
) -> None:
    """Numbers have so many decimals; None leaves them out where there is no room, and the colours alone speak."""
    changes = [list(tables.numbers(quantities.change_of(quantity), cells).values()) for quantity in asked]
    chances = [list(tables.numbers(quantities.p_of(quantity), cells).values()) for quantity in asked]
    most = max(LEAST, *(abs(100 * number.value) for row in changes for number in row))
    colors, scale = LinearSegmentedColormap.from_list("change", [LOST, style.PAPER, GAINED]), Normalize(-most, most)
    for row, quantity in enumerate(asked):
        if decimals is not None:
            reached = 100 * tables.numbers(quantity, [dense])[dense].value
            panel.text(0, row, f"{reached:.{decimals}f}", **CENTRED, color=style.INK)
        for column, (change, chance) in enumerate(zip(changes[row], chances[row], strict=True), 1):
            certain, place = chance.value < ALPHA, scale(100 * change.value)
            if certain:
                panel.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=colors(place), linewidth=0))
            if decimals is not None:
                words = f"{100 * change.value:+z.{decimals}f}".replace("-", "−").replace("+0", "0", decimals == 0)
                ink = style.PAPER if certain and abs(place - 0.5) > 0.3 else style.INK if certain else style.EDGE
                panel.text(column, row, words, **CENTRED, color=ink)
    panel.set_xlim(-0.5, len(cells) + 0.5)
    panel.set_ylim(len(asked) - 0.5, -0.5)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.grid(visible=False)
    for side in panel.spines.values():
        side.set_visible(False)
    panel.axvline(0.5, color=style.RULE, linewidth=0.8)
