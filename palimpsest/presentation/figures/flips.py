"""Which answers changed: questions that only the dense model answers, and questions that only the cell answers."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "Answers lost and gained against the dense model"
LOST, GAINED = "#b3541e", "#2a78b0"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Diverging bars, a row a cell and a panel a task: lost to the left, gained to the right, in % of the questions."""
    asked = quantities.flips(tables)
    cells = [cell for cell in tables.cells if not cell.is_dense]
    columns = min(len(asked), max(1, int(width / 1.25)))
    rows = -(-len(asked) // columns)
    figure = style.new_figure(width, 0.65 + rows * (0.4 + 0.165 * len(cells)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    names = cell_titles(cells, several_models=len(tables.models) > 1)
    for panel, (lost, gained) in zip(grid.flat, asked, strict=False):
        for quantity, side, color, hatch in ((lost, -1, LOST, None), (gained, 1, GAINED, "//////")):
            asked_of = tables.answering(quantity.task)
            places = [place for place, cell in enumerate(cells) if cell in asked_of]
            numbers = [tables.numbers(quantity, [cells[place]])[cells[place]].times(100) for place in places]
            lengths = [side * number.value for number in numbers]
            below, above = zip(*(number.errors for number in numbers), strict=True)
            arms = [below, above] if side > 0 else [above, below]
            panel.barh(places, lengths, height=0.72, color=color, hatch=hatch, edgecolor="white", linewidth=0)
            panel.errorbar(lengths, places, xerr=arms, linestyle="none", color=style.INK, elinewidth=0.8)
        panel.axvline(0, color=style.INK, linewidth=0.8)
        panel.set_title((lost.title[:1].upper() + lost.title[1:]).replace(", ", ",\n"))
        panel.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        panel.grid(axis="y", visible=False)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(cells)), names)
        for before, after in zip(range(len(cells) - 1), range(1, len(cells)), strict=True):
            if cells[before].label != cells[after].label:
                panel.axhline(before + 0.5, color=style.RULE, linewidth=0.6)
    panel.set_ylim(len(cells) - 0.4, -0.6)
    for unused in list(grid.flat)[len(asked) :]:
        unused.set_visible(False)
    figure.supxlabel("questions (%)", fontsize=7.5)
    handles = [Patch(facecolor=LOST, edgecolor="white"), Patch(facecolor=GAINED, edgecolor="white", hatch="//////")]
    style.legend(figure, handles, ["lost: the dense model is right, the cell wrong", "gained: the other way round"])
    return figure
