"""What longer prompts buy: accuracy and perplexity against the number of their tokens."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from palimpsest.analysis.arms import TEXT
from palimpsest.analysis.prompt_length import FEWEST
from palimpsest.grid import Cell
from palimpsest.presentation import arms_of, quantities, style
from palimpsest.presentation.data import CELL, Quantity, Tables
from palimpsest.presentation.figures.cost import shown
from palimpsest.presentation.level_names import cell_titles

TITLE = "Perplexity and accuracy against prompt length"
KINDS = ("biographies", "prose")  # a text that speaks of known facts, and one that does not
STEP = 0.09  # between the cells at one length, in doublings


def lengths_of(tables: Tables) -> dict[Cell, dict[str, int]]:
    """Cells with prompts of three lengths or more: recovery -> tokens, shortest first."""
    rows = tables.metrics[tables.metrics["metric"] == "prompt_tokens"]
    found = {}
    for cell, recoveries in tables.recoveries.items():
        mine = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)].sort_values("value")
        tokens = dict(zip(mine["recovery"], mine["value"].astype(int), strict=True))
        trained = {name: n for name, n in tokens.items() if name in recoveries and arms_of.arm(tables, name) == TEXT}
        if len(set(trained.values())) >= FEWEST:
            found[cell] = trained
    return found


def texts(tables: Tables) -> list[Quantity]:
    """The perplexities that are set against lengths: of two kinds of text."""
    every = quantities.perplexities(tables)
    return [quantity for quantity in every if quantity.subset in KINDS] or every[:2]


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a quantity, a line a cell; dashed: that cell alone, solid: the dense model."""
    lengths = lengths_of(tables)
    if not lengths:
        return style.nothing_to_draw(width, f"No cell has prompts of {FEWEST} lengths.")
    asked = [*shown(tables), *texts(tables)]
    columns = 2 if width > 5 and len(asked) > 1 else 1
    rows = -(-len(asked) // columns)
    figure = style.new_figure(width, 0.75 + 1.75 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    titles = dict(zip(lengths, cell_titles(list(lengths), len(tables.models) > 1), strict=True))
    looks = _looks(tables, list(lengths))
    handles: dict[str, object] = {}
    for quantity, panel in zip(asked, panels.flat, strict=False):
        for model in dict.fromkeys(cell.model for cell in lengths):
            level = tables.numbers(quantity, [tables.dense(model)])[tables.dense(model)].value
            handles["dense"] = panel.axhline(level * _factor(quantity), color=style.INK, linewidth=1.0, zorder=0)
        for place, cell in enumerate(lengths):
            shift = 2 ** (STEP * (place - (len(lengths) - 1) / 2))
            handles[titles[cell]] = _line(panel, tables, cell, quantity, lengths[cell], looks[cell], shift)
        panel.set_title(quantity.title)
        panel.set_ylabel("share (%)" if quantity.percent else "perplexity")
        _finish(panel, quantity, sorted({n for of_cell in lengths.values() for n in of_cell.values()}))
    for unused in list(panels.flat)[len(asked) :]:
        unused.set_visible(False)
    for panel in list(panels.flat)[: len(asked)][-columns:]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel("tokens of the prompt", fontsize=7.5)
    style.legend(figure, list(handles.values()), list(handles))
    return figure


def _looks(tables: Tables, cells: list[Cell]) -> dict[Cell, style.Look]:
    """The label's look, as in other figures, unless several cells have it."""
    labels = [cell.label for cell in cells]
    if len(set(labels)) == len(labels):
        return {cell: style.DENSE if cell.is_dense else tables.looks[cell.label] for cell in cells}
    found = style.recovery_looks([cell.id for cell in cells])
    return {cell: found[cell.id] for cell in cells}


def _line(
    panel: Axes, tables: Tables, cell: Cell, quantity: Quantity, tokens: dict[str, int], look: style.Look, shift: float
):
    """Points of all prompts; the line runs through the mean of those of one length."""
    factor = _factor(quantity)
    numbers = {name: tables.numbers(quantity, [cell], name)[cell].times(factor) for name in tokens}
    means = {}
    for n in sorted(set(tokens.values())):
        same = [numbers[name].value for name in tokens if tokens[name] == n]
        means[n] = sum(same) / len(same)
    panel.plot([n * shift for n in means], list(means.values()), color=look.color, linestyle=look.line, zorder=1)
    if not cell.is_dense:
        alone = tables.numbers(quantity, [cell])[cell].value * factor
        panel.axhline(alone, color=look.color, linewidth=0.9, linestyle=style.DASHED, zorder=0)
    return panel.errorbar(
        [tokens[name] * shift for name in tokens],
        [number.value for number in numbers.values()],
        list(zip(*(number.errors for number in numbers.values()), strict=True)),
        linestyle="none", markersize=3.5, **look.points,
    )  # fmt: skip


def _factor(quantity: Quantity) -> float:
    return 100.0 if quantity.percent else 1.0


def _finish(panel: Axes, quantity: Quantity, lengths: list[int]) -> None:
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator(lengths))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(lengths[0] / 1.3, lengths[-1] * 1.3)
    if quantity.percent:
        middle = sum(panel.get_ylim()) / 2
        style.at_least(panel, middle - 5, middle + 5)
        style.percentages(panel)
