"""Whether perplexity warns of lost knowledge: relative perplexity against the change of closed-book accuracy."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from palimpsest.presentation import labels, quantities, style
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import level_title

TITLE = "Knowledge against perplexity"
PERPLEXITY, POINTS = 0.05, -5.0  # within 5 % of the dense perplexity, at least 5 points lost


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a kind of text without known facts; a point a cell. The shaded region is where perplexity keeps quiet."""
    kinds = quantities.perplexities(tables, "relative_perplexity", quantities.WITHOUT_KNOWN_FACTS)
    columns = len(kinds) if width > 5 else 1
    rows = -(-len(kinds) // columns)
    figure = style.new_figure(width, 0.5 + 3.1 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)[: len(kinds)]
    cells = [cell for cell in tables.answering(quantities.CLOSED_BOOK.task) if not cell.is_dense]
    change = {cell: number.times(100) for cell, number in tables.numbers(quantities.CLOSED_BOOK_CHANGE, cells).items()}
    handles: dict[str, object] = {}
    for panel, kind in zip(panels, kinds, strict=True):
        growth = {cell: _percent(number) for cell, number in tables.numbers(kind, cells).items()}
        for cell in cells:
            x, y, look = growth[cell], change[cell], tables.looks[cell.label]
            arms = {"xerr": [[x.errors[0]], [x.errors[1]]], "yerr": [[y.errors[0]], [y.errors[1]]]}
            handles.setdefault(cell.label, panel.errorbar(x.value, y.value, **arms, linestyle="none", **look.points))
        _frame(panel, kind.title)
        style.at_least(panel, 1.6 * POINTS, 2)
    for panel in panels:
        low, high = panel.get_ylim()
        left = panel.get_xlim()
        panel.fill_between([left[0], 100 * PERPLEXITY], low, POINTS, color=style.SHADE, linewidth=0, zorder=0)
        panel.set_xlim(left)
        panel.set_ylim(low, high)
    panels[0].set_ylabel("closed book, change (points)")
    for panel in panels[1:] if columns == 1 else ():
        panel.set_ylabel("closed book, change (points)")
    handles["perplexity does not warn"] = Patch(facecolor=style.SHADE)
    style.legend(figure, list(handles.values()), list(handles))
    several = len({cell.model for cell in cells}) > 1
    for panel, kind in zip(panels, kinds, strict=True):
        growth = {cell: _percent(number) for cell, number in tables.numbers(kind, cells).items()}
        points = [(growth[cell].value, change[cell].value) for cell in cells]
        # Where all cells crowd around zero, their names say nothing: name those that lost something on either axis.
        named = [
            (x, y, f"{cell.model} " * several + level_title(cell.level))
            for cell, (x, y) in zip(cells, points, strict=True)
            if y <= POINTS or x >= 100 * PERPLEXITY
        ]
        if len(named) > labels.MOST:
            quiet = [(x, y, f"{cell.label} {level_title(cell.level)}", cell) for cell, (x, y) in
                     zip(cells, points, strict=True) if y <= POINTS and x <= 100 * PERPLEXITY]  # fmt: skip
            worst = sorted(quiet, key=lambda point: (point[1], point[2]))[: labels.MOST // 2]
            named = [(x, y, f"{cell.model} " * several + words) for x, y, words, cell in worst]
        bars = [(growth[cell].low, y, growth[cell].high, y) for cell, (_, y) in zip(cells, points, strict=True)]
        bars += [(x, change[cell].low, x, change[cell].high) for cell, (x, _) in zip(cells, points, strict=True)]
        labels.place(panel, named, points, bars)
    return figure


def _percent(number: Number) -> Number:
    """Growth of perplexity in % from its ratio to the dense model's."""
    return Number(*(100 * (value - 1) for value in (number.value, number.low, number.high)), number.n)


def _frame(panel, title: str) -> None:
    panel.axhline(0, color=style.INK, linewidth=0.8)
    panel.axvline(0, color=style.INK, linewidth=0.8)
    panel.set_title(title[:1].upper() + title[1:])
    panel.set_xlabel("perplexity, growth (%)")
    # Linear up to 10 %, logarithmic beyond: the region of interest is near zero, collapse is far away.
    panel.set_xscale("symlog", linthresh=10, linscale=1.2)
    panel.xaxis.set_minor_locator(NullLocator())
    low, high = panel.get_xlim()
    low, high = min(low, -1.5), max(high, 8.0)
    high = 1.5 * high if high > 10 else high  # room for the words beside the outermost cell
    panel.set_xticks(
        [tick for tick in (-10, -5, 0, 5, 10, 30, *(10**power for power in range(2, 9))) if low <= tick <= high]
    )
    panel.set_xlim(low, high)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\u2009")))
    panel.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
