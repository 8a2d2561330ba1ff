"""What came back: facts that the dense model knows, in a cell alone and with each recovery, about people that the
recovery text speaks of (pool R) and about people that it does not (pool U)."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import level_title

TITLE = "What recoveries bring back"
# pool -> look: filled and hollow, so that the two can be told apart in grey.
POOLS = {"R": ("#0072b2", "o", "#0072b2", -0.09), "U": ("#d55e00", "s", style.PAPER, 0.09)}


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a cell; x: nothing, then each recovery; the dense model's accuracy on each pool is a line."""
    cells = tables.recovered
    columns = min(len(cells), max(1, int(width / 2)))
    rows = -(-len(cells) // columns)
    figure = style.new_figure(width, 0.7 + 2.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    handles: dict[str, object] = {}
    several = len(tables.models) > 1
    for cell, panel in zip(cells, panels.flat, strict=False):
        recoveries = ["none", *cells[cell]]
        for pool, (color, marker, face, shift) in POOLS.items():
            quantity = quantities.POOLS[pool]
            dense = tables.dense(cell.model)
            level = tables.numbers(quantity, [dense])[dense].times(100).value
            line = panel.axhline(level, color=color, linewidth=1.0, linestyle="-" if pool == "R" else (0, (4, 2)))
            handles.setdefault(f"dense, {pool}", line)
            numbers = [tables.numbers(quantity, [cell], recovery)[cell].times(100) for recovery in recoveries]
            below, above = zip(*(number.errors for number in numbers), strict=True)
            points = panel.errorbar(
                [place + shift for place in range(len(recoveries))], [number.value for number in numbers],
                [below, above], linestyle="none", elinewidth=0.9,
                color=color, marker=marker, markerfacecolor=face, markeredgecolor=color,
            )  # fmt: skip
            handles.setdefault(f"pool {pool}", points)
        names = ["cell alone", *(f"+ {recovery}" for recovery in recoveries[1:])]
        panel.set_xticks(range(len(recoveries)), names, rotation=0 if width / columns / len(names) > 0.62 else 30)
        panel.set_xlim(-0.5, len(recoveries) - 0.5)
        panel.grid(axis="x", visible=False)
        panel.set_title(f"{cell.model} " * several + f"{cell.label}, {level_title(cell.level)}")
    for panel in list(panels.flat)[len(cells) :]:
        panel.set_visible(False)
    middle = sum(panels[0, 0].get_ylim()) / 2
    style.at_least(panels[0, 0], middle - 5, middle + 5)
    for panel in panels[:, 0]:
        panel.set_ylabel("known facts (%)")
    words = {"pool R": "R: the recovery text speaks of these people", "pool U": "U: it does not",
             "dense, R": "dense, R", "dense, U": "dense, U"}  # fmt: skip
    style.legend(figure, [handles[key] for key in words], list(words.values()))
    return figure
