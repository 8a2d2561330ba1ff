"""What became of the damage: returned about people of whom the recovery's text says nothing, learned again from it, or
not returned."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from palimpsest.grid import Cell
from palimpsest.presentation import arms_of, quantities, style
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "How much of the damage was only displaced"
RETURNED, RELEARNED, REMAINS, REPAIRED = (
    ("#0072b2", None), ("#e69f00", "//////"), ("#e4e4e8", None), ("#a79bc9", "......")
)  # fmt: skip
WORDS = {RETURNED: "returned unseen", RELEARNED: "re-learned", REMAINS: "not returned",
         REPAIRED: "repaired by what looks at the dense weights"}  # fmt: skip
ROW, HEADING = 0.19, 1.0  # inches a row; rows that a cell's heading takes


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a way to score, rows of recoveries under each cell, a bar of 100 % of the damage; whiskers: 95 %."""
    tasks = arms_of.scored(tables)
    if not tasks:
        return style.nothing_to_draw(width, arms_of.NOTHING_KNOWN)
    cells = [cell for cell in tables.recoveries if not cell.is_dense]
    found = {(task, cell): _found(tables, task, cell) for task in tasks for cell in cells}
    # A cell that lost too little for any verdict has one line.
    decided = {cell: any(part for task in tasks for part in found[task, cell].values()) for cell in cells}
    rows = sum(HEADING + len(tables.recoveries[cell]) * decided[cell] for cell in cells)
    side_by_side = width > 5
    columns = len(tasks) if side_by_side else 1
    figure = style.new_figure(width, 0.95 + (0.3 + ROW * rows) * (1 if side_by_side else len(tasks)))
    panels = figure.subplots(len(tasks) // columns, columns, squeeze=False, sharex=True, sharey=True)
    drawn: set = set()
    for (task, words), panel in zip(tasks.items(), panels.flat, strict=True):
        place, ticks = 0.0, {}
        for cell, heading in zip(cells, cell_titles(cells, len(tables.models) > 1), strict=True):
            damage = tables.numbers(arms_of.of(quantities.DAMAGE, task), [cell])[cell]
            heading = f"{heading}: {100 * damage.value:.0f} points lost{'' if decided[cell] else ', no verdict'}"
            panel.text(0.01, place, heading, transform=panel.get_yaxis_transform(), fontsize=6.5, va="center",
                       fontweight="bold", color=style.INK)  # fmt: skip
            place += HEADING
            if not decided[cell]:
                continue
            panel.vlines((0, 100), place - 0.5, place + len(found[task, cell]) - 0.5, color=style.INK, linewidth=0.6)
            for recovery, parts in found[task, cell].items():
                ticks[place] = arms_of.title(tables, recovery)
                if parts is None:
                    panel.text(50, place, "no verdict", fontsize=6, va="center", ha="center", color=style.INK)
                else:
                    drawn |= _bar(panel, place, *parts, repaired=arms_of.consults(tables, recovery))
                place += 1
        panel.set_yticks(list(ticks), list(ticks.values()))
        panel.set_ylim(place - 0.4, -0.7)
        panel.set_xticks([-50, 0, 50, 100])
        panel.grid(visible=False)
        panel.tick_params(axis="y", length=0)
        panel.set_title(f"scored {words}")
    decided_parts = [parts[0] for of_cell in found.values() for parts in of_cell.values() if parts]
    lows = [100 * (number.value - number.errors[0]) for number in decided_parts]
    panels[0, 0].set_xlim(max(-100, min(-10, *lows)) - 3, 125)
    figure.supxlabel("damage (%)", fontsize=7.5)
    looks = [look for look in WORDS if look in drawn]
    handles = [Patch(facecolor=color, edgecolor="white", hatch=hatch) for color, hatch in looks]
    style.legend(figure, handles, [WORDS[look] for look in looks])
    return figure


def _found(tables: Tables, task: str, cell: Cell) -> dict[str, tuple[Number, Number] | None]:
    recoveries = arms_of.sorted_recoveries(tables, cell)
    return {recovery: arms_of.parts(tables, task, cell, recovery) for recovery in recoveries}


def _bar(panel: Axes, place: float, returned: Number, remains: Number, repaired: bool) -> set:
    """The bar of one recovery; returns the looks that it has."""
    first, last = 100 * returned.value, 100 * (1 - remains.value)
    ends = [min(max(end, 0.0), 100.0) for end in (0.0, first, max(first, last), 100.0)]
    looks = (REPAIRED if repaired else RETURNED, RELEARNED, REMAINS)
    for (color, hatch), start, end in zip(looks, ends, ends[1:], strict=False):
        panel.barh(
            place, end - start, left=start, height=0.78, color=color, hatch=hatch, edgecolor="white", linewidth=0
        )
    # The whiskers of the two borders stand above each other, since they may overlap.
    for border, number, shift in ((first, returned, -0.14), (last, remains, 0.14)):
        arms = number.times(100).errors
        arms = arms if number is returned else arms[::-1]
        panel.errorbar(border, place + shift, xerr=[[arms[0]], [arms[1]]], linestyle="none", marker="o", markersize=2.2,
                       color=style.INK, elinewidth=0.8, capsize=1.5, clip_on=True)  # fmt: skip
    return {look for look, start, end in zip(looks, ends, ends[1:], strict=False) if end > start}
