"""What was lost: each task's accuracy by method and level, beside the dense model's."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.levels_axis import draw_levels, rows_of

TITLE = "Accuracy by method and level"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows: tasks (for each model); columns: families of methods; x: levels from mild to harsh."""
    return draw_levels(tables, rows_of(tables, quantities.accuracies(tables)), width)
