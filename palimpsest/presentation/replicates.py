"""A figure of replicates: what each world says, and the mean over worlds with its interval."""

from __future__ import annotations

import pandas
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Quantity
from palimpsest.presentation.level_names import cell_titles, family, severity

PANELS = (quantities.DAMAGE, quantities.RETURNED, quantities.RELEARNED)
KEY = ["model", "label", "method", "level", "seed"]
SPREAD = 0.5  # of a row's height, for the recoveries


def draw(metrics: pandas.DataFrame, pooled: pandas.DataFrame, width: float = style.WIDE) -> Figure:
    """Panels: damage, returned unseen, re-learned; rows: cells; small marks: replicates; large: mean and interval.

    `metrics` and `pooled` are those of analysis/replicates.py.
    """
    wanted = {quantity: _rows(pooled, quantity) for quantity in PANELS}
    cells = sorted(
        {Cell(*key) for rows in wanted.values() for key in rows[KEY].itertuples(index=False, name=None)},
        key=lambda cell: (family(cell), severity(cell.level), cell.label),
    )
    recoveries = sorted(set(wanted[quantities.RETURNED]["recovery"]))
    looks = {"none": style.ALONE} | style.recovery_looks(recoveries)
    shift = {name: SPREAD * ((place + 0.5) / len(recoveries) - 0.5) for place, name in enumerate(recoveries)}
    figure = style.new_figure(width, 0.9 + 0.3 * len(cells))
    for quantity, panel in zip(PANELS, figure.subplots(1, len(PANELS), sharey=True), strict=True):
        single = _rows(metrics, quantity)
        for place, cell in enumerate(cells):
            for recovery in dict.fromkeys(wanted[quantity]["recovery"]):
                y = place + shift.get(recovery, 0.0)
                look = looks[recovery]
                each = single[_is(single, cell, recovery)]["value"]
                panel.scatter(100 * each, [y] * len(each), s=7, color=look.color, alpha=0.4, linewidths=0)
                for row in wanted[quantity][_is(wanted[quantity], cell, recovery)].itertuples():
                    arms = [[100 * max(0.0, row.value - row.low)], [100 * max(0.0, row.high - row.value)]]
                    panel.errorbar([100 * row.value], [y], xerr=arms, markersize=4, **look.points)
        panel.axvline(0, color=style.INK, linewidth=0.6)
        panel.set_title(quantity.title)
        panel.set_xlabel("points lost" if quantity is quantities.DAMAGE else "% of the damage", fontsize=7)
    panel.set_yticks(range(len(cells)), cell_titles(cells, len({cell.model for cell in cells}) > 1))
    panel.set_ylim(len(cells) - 0.5, -0.5)
    handles = [
        panel.errorbar([], [], xerr=[], markersize=4, label=recovery, **looks[recovery].points)
        for recovery in recoveries
    ]
    style.legend(figure, handles, recoveries)
    return figure


def _rows(table: pandas.DataFrame, quantity: Quantity) -> pandas.DataFrame:
    same = (table["task"] == quantity.task) & (table["metric"] == quantity.metric)
    return table[same & (table["subset"] == quantity.subset) & (table["label"] != "dense")]


def _is(table: pandas.DataFrame, cell: Cell, recovery: str) -> pandas.Series:
    found = table["recovery"] == recovery
    for column in KEY:
        found &= table[column] == getattr(cell, column)
    return found
