"""What compression does to a model of language without known facts: perplexity by text, and accuracy of its judgements."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.levels_axis import draw_levels

TITLE = "Perplexity and judgements by method and level"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows: texts (perplexity, logarithmic), then tasks (accuracy); columns: families; x: levels from mild to harsh."""
    return draw_levels(tables, [*quantities.perplexities(tables), *quantities.accuracies(tables)], width)
