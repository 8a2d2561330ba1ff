"""What recoveries cost in time: what cells know with each of them, against the time of an input and of a new token."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import style
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.figures.cost import finish, grid_of_panels, in_order, levels, shown

TITLE = "What cells know with recoveries of different speed"
PHASES = {"prefill": "reading the input", "decode": "a generated token"}
MERGED = "merged in memory"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A column of panels a cell, a row a phase; x: time over that of the cell alone, at the longest context."""
    cells, quantity = tables.recoveries, shown(tables)[0]
    figure, panels = grid_of_panels(cells, [quantity] * len(PHASES), width)
    looks = style.recovery_looks({name for names in cells.values() for name in names})
    handles: dict[str, object] = {}
    for (cell, recoveries), column in zip(cells.items(), panels, strict=True):
        context = tables.contexts(cell.model)[-1]
        for phase, panel in zip(PHASES, column, strict=True):
            handles |= levels(panel, tables, cell, quantity)
            panel.axvline(1, color=style.EDGE, linewidth=1.2, linestyle=style.DASHED)
            if factors := tables.timed(f"{phase}_factors_over_cell", context, cell):
                known = tables.numbers(quantity, [cell])[cell].times(100)
                handles["cell alone, as two factors"] = _point(panel, factors, known.value, style.ALONE)
            for recovery in recoveries:
                known = tables.numbers(quantity, [cell], recovery)[cell].times(100)
                beside = tables.timed(f"{phase}_over_cell", context, cell, recovery)
                merged = tables.timed(f"{phase}_merged_over_cell", context, cell, recovery)
                if beside is None:  # an encoder generates no token
                    continue
                handles[recovery] = _point(panel, beside, known.value, looks[recovery])
                if merged is not None:
                    hollow = style.Look(looks[recovery].color, looks[recovery].marker, style.SOLID, "none")
                    panel.plot([beside.value, merged.value], [known.value] * 2, color=hollow.color, linewidth=0.7)
                    handles.setdefault(f"hollow: {MERGED}", _point(panel, merged, known.value, hollow))
            low, high = panel.get_xlim()
            panel.set_xlim(min(low, 0.9), max(high, 1.1))
    _name_rows(tables, cells, quantity, figure, panels)
    style.legend(figure, *in_order(handles))
    return figure


def _point(panel: Axes, ratio: Number, known: float, look: style.Look) -> object:
    return panel.errorbar(ratio.value, known, xerr=[[arm] for arm in ratio.errors], linestyle="none", **look.points)


def _name_rows(
    tables: Tables, cells: dict[Cell, list[str]], quantity: Quantity, figure: Figure, panels: list[list[Axes]]
) -> None:
    contexts = {tables.contexts(cell.model)[-1] for cell in cells}
    tokens = " or ".join(f"{context:,}" for context in sorted(contexts))
    finish(figure, cells, [quantity] * len(PHASES), panels, f"time over the cell's own, input of {tokens} tokens",
           several_models=len(tables.models) > 1)  # fmt: skip
    for column in panels:
        for phase, panel in zip(PHASES.values(), column, strict=True):
            panel.set_xlabel(phase)
