"""What returned unseen by how often training said the facts: the rarest third of the known facts, the middle, and the
most frequent."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from palimpsest.analysis.arms import TEXT
from palimpsest.presentation import arms_of, quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "What returned, by how often training said it"
SPREAD = 0.62  # of a stratum's width, for the recoveries beside each other


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a cell; x: exposures of the facts; bars: what was lost, points: what of it returned unseen."""
    tasks = list(arms_of.scored(tables))
    if not tasks:
        return style.nothing_to_draw(width, arms_of.NOTHING_KNOWN)
    task = tasks[0]
    cells = [cell for cell in tables.recoveries if not cell.is_dense]
    columns = min(len(cells), max(1, int(width / 1.9)))
    rows = -(-len(cells) // columns)
    figure = style.new_figure(width, 0.8 + 1.75 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    names = sorted({name for cell in cells for name in tables.recoveries[cell] if arms_of.arm(tables, name) == TEXT})
    looks = style.recovery_looks(names)
    handles: dict[str, object] = {}
    for cell, heading, panel in zip(cells, cell_titles(cells, len(tables.models) > 1), panels.flat, strict=False):
        strata = arms_of.strata(tables, task, cell)
        mine = [name for name in names if name in tables.recoveries[cell]]
        for place, stratum in enumerate(strata):
            damage = tables.numbers(arms_of.of(quantities.DAMAGE, task, stratum), [cell])[cell]
            if damage.value != damage.value:
                continue
            panel.bar(place, 100 * damage.value, width=0.85, color=style.RULE, zorder=0)
            for number, recovery in enumerate(mine):
                quantity = arms_of.of(quantities.RETURNED, task, stratum)
                found = tables.numbers(quantity, [cell], recovery)[cell].times(100)
                if found.value != found.value:
                    continue
                x = place + SPREAD * ((number + 0.5) / len(mine) - 0.5)
                below, above = found.errors
                look = looks[recovery].points | {"markersize": 3.5}
                handles[recovery] = panel.errorbar(x, found.value, [[below], [above]], linestyle="none", **look)
        panel.axhline(0, color=style.INK, linewidth=0.6)
        panel.axhline(100, color=style.INK, linewidth=0.6, linestyle=(0, (4, 2)))
        panel.set_xticks(range(len(strata)), [stratum.split()[1].replace("-", "–") for stratum in strata])
        panel.set_xlim(-0.6, len(strata) - 0.4)
        panel.grid(axis="x", visible=False)
        panel.set_title(heading)
    # A share of little damage has wide intervals, which would press all others flat.
    bottom, top = panels[0, 0].get_ylim()
    panels[0, 0].set_ylim(max(bottom, -105), max(105, min(top, 205)))
    for panel in list(panels.flat)[len(cells) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("%")
    figure.supxlabel("times that training says the fact", fontsize=7.5)
    bar = Patch(facecolor=style.RULE)
    drawn = [name for name in names if name in handles]
    style.legend(
        figure, [bar, *map(handles.get, drawn)], ["known facts lost", *(f"{name}, returned" for name in drawn)]
    )
    return figure
