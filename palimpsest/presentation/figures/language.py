"""What compression does to a model without known facts: perplexity by text, and accuracy of its judgements."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.levels_axis import draw_levels, rows_of

TITLE = "Perplexity and judgements by method and level"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows: texts (perplexity, logarithmic), then tasks (accuracy); columns: families; x: levels from mild to harsh."""
    asked = [*quantities.perplexities(tables), *quantities.accuracies(tables)]
    return draw_levels(tables, rows_of(tables, asked), width)
