"""Does compression cost more where the text is long?"""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import style
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.level_names import level_title

TITLE = "What length adds to the loss"
KINDS = {"people": "More people", "words": "More words"}


def kinds_of(tables: Tables) -> list[Quantity]:
    """The kinds of length of which the dense models leave two lengths to compare."""
    rows = tables.metrics[tables.metrics["metric"] == "length_interaction"]
    keys = rows[["task", "subset"]][rows["value"].notna()].drop_duplicates().sort_values(["task", "subset"])
    return [
        Quantity(KINDS.get(kind, kind), task, "length_interaction", subset=kind, may_lack_verdict=True)
        for task, kind in keys.itertuples(index=False, name=None)
    ]


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a kind of length, a row a cell: its loss in the longest passages minus its loss in the shortest."""
    kinds = kinds_of(tables)
    if not kinds:
        figure = style.new_figure(width, 0.6)
        figure.text(0.5, 0.5, "No dense model reads two of the lengths.", ha="center", va="center", fontsize=7.5)
        return figure
    cells = [cell for cell in tables.cells if not cell.is_dense]
    columns = len(kinds) if width > 5 else 1
    rows = -(-len(kinds) // columns)
    figure = style.new_figure(width, 0.7 + rows * (0.45 + 0.165 * len(cells)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    several = len(tables.models) > 1
    names = [f"{cell.model} " * several + f"{cell.label} {level_title(cell.level)}" for cell in cells]
    for panel, quantity in zip(grid.flat, kinds, strict=False):
        for y, (cell, share) in enumerate(tables.numbers(quantity, cells).items()):
            number, look = share.times(100), tables.looks[cell.label]
            below, above = number.errors
            panel.errorbar(number.value, y, xerr=[[below], [above]], linestyle="none", **look.points)
        panel.axvline(0, color=style.INK, linewidth=0.8, zorder=0)
        panel.set_title(quantity.title)
        panel.grid(axis="y", visible=False)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(cells)), names)
    panel.set_ylim(len(cells) - 0.4, -0.6)
    figure.supxlabel("loss in the longest passages minus loss in the shortest (points)", fontsize=7.5)
    return figure
