"""What came back: facts that the dense model knows, in a cell alone and with each recovery, about people that the
recovery text speaks of (pool R) and about people that it does not (pool U)."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import arms_of, quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "What recoveries bring back"
# pool -> look: filled and hollow, so that the two can be told apart in grey.
POOLS = {"R": ("#0072b2", "o", "#0072b2", -0.14), "U": ("#d55e00", "s", style.PAPER, 0.14)}


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a cell; rows: nothing, then each recovery; the dense model's share on each pool is a line."""
    cells = list(tables.recoveries)
    columns = min(len(cells), max(1, int(width / 2.4)))
    rows = -(-len(cells) // columns)
    counts = [1 + len(tables.recoveries[cell]) for cell in cells]
    most = [max(counts[row * columns : (row + 1) * columns]) for row in range(rows)]
    figure = style.new_figure(width, 0.8 + 0.45 * rows + 0.19 * sum(most))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, height_ratios=[2.4 + count for count in most])
    handles: dict[str, object] = {}
    drawn: list = []
    for cell, heading, panel in zip(cells, cell_titles(cells, len(tables.models) > 1), panels.flat, strict=False):
        recoveries = ["none", *arms_of.sorted_recoveries(tables, cell)]
        for pool, (color, marker, face, shift) in POOLS.items():
            quantity = quantities.POOLS[pool]
            dense = tables.dense(cell.model)
            level = tables.numbers(quantity, [dense])[dense].times(100).value
            line = panel.axvline(level, color=color, linewidth=1.0, linestyle="-" if pool == "R" else (0, (4, 2)))
            handles.setdefault(f"dense, {pool}", line)
            numbers = [tables.numbers(quantity, [cell], recovery)[cell].times(100) for recovery in recoveries]
            arms = list(zip(*(number.errors for number in numbers), strict=True))
            points = panel.errorbar(
                [number.value for number in numbers], [place + shift for place in range(len(recoveries))], xerr=arms,
                linestyle="none", elinewidth=0.9, markersize=3.5,
                color=color, marker=marker, markerfacecolor=face, markeredgecolor=color,
            )  # fmt: skip
            handles.setdefault(f"pool {pool}", points)
        names = ["cell alone", *(f"+ {arms_of.title(tables, recovery)}" for recovery in recoveries[1:])]
        panel.set_yticks(range(len(recoveries)), names)
        panel.set_ylim(most[len(drawn) // columns] - 0.5, -0.5)
        drawn.append(panel)
        panel.grid(axis="y", visible=False)
        panel.set_title(heading)
    for panel in list(panels.flat)[len(cells) :]:
        panel.set_visible(False)
    for panel in drawn[-columns:]:
        panel.tick_params(labelbottom=True)
    low, high = panels[0, 0].get_xlim()
    panels[0, 0].set_xlim(min(low, (low + high) / 2 - 5), max(high, (low + high) / 2 + 5))
    figure.supxlabel("known facts (%)", fontsize=7.5)
    words = {"pool R": "R: the recovery text speaks of these people", "pool U": "U: it does not",
             "dense, R": "dense, R", "dense, U": "dense, U"}  # fmt: skip
    style.legend(figure, [handles[key] for key in words], list(words.values()))
    return figure
