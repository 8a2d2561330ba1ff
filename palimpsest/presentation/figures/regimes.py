"""Two regimes? How near attention and activations come to those of the dense model and of the cell alone, by block."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import style
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "Attention and activations, by block"
MEASURES = {"attention_js": "attention (JS, bits)", "activation_cka": "activations (CKA)"}
REFERENCES = {"to_dense": "to the dense model", "to_cell": "to the cell alone"}


def task_of(tables: Tables) -> str:
    """The task whose texts the figures show: the first that was compared."""
    return next(iter(tables.similarity["task"]))


def compared(tables: Tables) -> dict[Cell, list[str]]:
    """The compressed cells with their recoveries."""
    return {cell: names for cell, names in tables.recoveries.items() if not cell.is_dense}


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A row a cell; a panel a measure and the model that is compared with; a line a recovery."""
    cells, task = compared(tables), task_of(tables)
    asked = [(measure, reference) for measure in MEASURES for reference in REFERENCES]
    columns = len(asked) if width > 5 else 2
    bands = len(asked) // columns
    figure = style.new_figure(width, 0.9 + 1.45 * len(cells) * bands)
    axes = figure.subplots(len(cells) * bands, columns, squeeze=False, sharex=True)
    looks = style.recovery_looks({name for names in cells.values() for name in names})
    handles: dict[str, object] = {}
    titles = cell_titles(list(cells), several_models=len(tables.models) > 1)
    for row, ((cell, recoveries), title) in enumerate(zip(cells.items(), titles, strict=True)):
        for number, (measure, reference) in enumerate(asked):
            panel = axes[row * bands + number // columns, number % columns]
            if reference == "to_dense":
                alone = tables.similar(task, f"{measure}_to_dense", cell, "none")
                handles["cell alone"] = _line(panel, by_block(alone), style.ALONE)
            for recovery in recoveries:
                found = by_block(tables.similar(task, f"{measure}_{reference}", cell, recovery))
                handles[recovery] = _line(panel, found, looks[recovery])
            panel.set_xlim(min(found) - 0.4, max(found) + 0.4)
            panel.grid(axis="x", visible=False)
            # One below the other, a cell's panels name their measure beside the axis.
            if row == 0 and number < columns:
                panel.set_title(
                    f"{MEASURES[measure]}\n{REFERENCES[reference]}" if bands == 1 else REFERENCES[reference]
                )
            if number % columns == 0:
                panel.set_ylabel(title if bands == 1 else f"{title}\n{MEASURES[measure]}")
    for first, second in zip(axes[:, 0::2].flat, axes[:, 1::2].flat, strict=True):
        _same_scale(first, second)
    figure.supxlabel("block", fontsize=7.5)
    order = ["cell alone", *sorted(handles.keys() - {"cell alone"})]
    style.legend(figure, [handles[name] for name in order], order)
    return figure


def by_block(found: Mapping[tuple[str, str], Number]) -> dict[int, Number]:
    """Block -> the mean over its heads, in order."""
    return {int(layer): found[layer, "all"] for layer in sorted({layer for layer, _ in found} - {"all"}, key=int)}


def _line(panel: Axes, found: Mapping[int, Number], look: style.Look) -> object:
    below, above = zip(*(number.errors for number in found.values()), strict=True)
    values = [number.value for number in found.values()]
    points = dict(look.points) | {"markersize": 3.2, "linewidth": 0.9, "linestyle": look.line}
    return panel.errorbar(list(found), values, [below, above], **points)


def _same_scale(one: Axes, other: Axes) -> None:
    """To the dense model and to the cell: what is compared is drawn alike."""
    ends = [panel.get_ylim() for panel in (one, other)]
    for panel in (one, other):
        panel.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
    other.tick_params(labelleft=False)
