"""By how much probes read low-rank cells better than they learn a control task from them."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures import probe_rate

TITLE = "Selectivity of probes against rate, for each low-rank algorithm"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """As probe_rate, of the probes that have a control task."""
    return probe_rate.draw_metric(tables, width, "selectivity")
