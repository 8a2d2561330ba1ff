"""What the representations still hold: a linear probe's accuracy by layer, dense and compressed."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from palimpsest.presentation import style
from palimpsest.presentation.data import Tables, family, level_title

TITLE = "Attribute values that a linear probe reads from each layer"
FLOORS = {"random": ("random weights", style.DOTTED), "control": ("control task", style.DASHDOT)}


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a family; the dense model, the floor of random weights and the control task are in every panel."""
    curves = tables.probe_curves()
    families = list(dict.fromkeys(family(cell) for cell in curves.cells if not cell.is_dense)) or ["dense"]
    columns = len(families) if width > 5 else 1
    rows = -(-len(families) // columns)
    figure = style.new_figure(width, 1.0 + 2.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    handles: dict[str, object] = {}
    for name, panel in zip(families, panels.flat, strict=True):
        for cell in curves.cells:
            if not cell.is_dense and family(cell) != name:
                continue
            look = tables.looks[cell.label]
            _curve(panel, curves.accuracy[cell], look, cell.level)
        panel.set_title(name)
    return figure
