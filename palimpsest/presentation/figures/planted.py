"""Does the estimator find what was planted? Estimate against truth, and how often it says that something returned."""

from __future__ import annotations

from collections.abc import Iterator

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from palimpsest.presentation import style
from palimpsest.presentation.data import Tables
from palimpsest.provenance import PalimpsestError

TITLE = "The estimator on planted truths"
TASK = "closed_book"
LINES = (style.SOLID, style.DASHED, style.DASHDOT, style.DOTTED)
MARKERS = "osD^vPXhd<>8pH"
LEVEL = 5  # per cent: how often intervals of 95 % may leave out a truth of nothing


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Left: share that returned unseen against the share that could; right: share of replicates that say so at all.

    A line a recovery and planted model: the colour says which recovery, the marker which model. Models whose damage has
    one share only are points.
    """
    rows = tables.metrics[(tables.metrics["task"] == TASK) & tables.metrics["metric"].str.startswith("planted_")]
    if rows.empty:
        raise PalimpsestError(f"{tables.folder}: no planted_delta of {TASK} in metrics.parquet; run the study again.")
    side_by_side = width > 5
    figure = style.new_figure(width, 0.55 * width if side_by_side else 1.9 * width)
    calibration, power = figure.subplots(*((1, 2) if side_by_side else (2, 1)))
    calibration.plot([0, 100], [0, 100], color=style.EDGE, linewidth=0.8, zorder=0)
    calibration.axhline(0, color=style.RULE, linewidth=0.8, zorder=0)
    power.axhline(LEVEL, color=style.EDGE, linewidth=0.8, zorder=0)
    handles: dict[str, object] = {}
    for recovery, model, look, numbers in _lines(rows):
        delta, detected = numbers["planted_delta"], numbers["planted_power"]
        _line(calibration, numbers["planted_truth"]["value"], delta, look)
        power.plot(
            detected["share"], detected["value"], color=look.color, marker=look.marker, linestyle=look.line,
            clip_on=False, zorder=3,
        )  # fmt: skip
        handles.setdefault(recovery, Line2D([], [], color=look.color, linestyle=look.line))
        handles.setdefault(f"on {model}", Line2D([], [], color=style.INK, marker=look.marker, linestyle="none"))
    for panel in (calibration, power):
        panel.set_xlim(-4, 104)
        panel.set_xticks([0, 25, 50, 75, 100])
    calibration.set_xlabel("share of the damage that is only displaced (%)")
    calibration.set_ylabel("returned unseen, estimated (%)")
    power.set_xlabel("share of the people who are displaced (%)")
    power.set_ylabel("interval above 0 (% of replicates)")
    power.set_ylim(-4, 104)
    order = sorted(handles, key=lambda name: (name.startswith("on "), name))
    style.legend(figure, [handles[name] for name in order], order)
    return figure


def _lines(rows: pandas.DataFrame) -> Iterator[tuple[str, str, style.Look, dict[str, pandas.DataFrame]]]:
    """(recovery, model, look, metric -> its rows by share, in per cent) of each recovery of each model."""
    rows = rows[rows["subset"].str.startswith("share=")]
    share = rows["subset"].str.removeprefix("share=").astype(float) * 100
    rows = rows.assign(share=share, **{key: rows[key] * 100 for key in ("value", "low", "high")})
    colors = list(dict.fromkeys(color for color, *_ in style.METHODS.values()))
    recoveries, models = (sorted(set(rows[key])) for key in ("recovery", "model"))
    for (recovery, model), own in rows.groupby(["recovery", "model"], sort=True):
        place = recoveries.index(recovery)
        color, line = colors[4 * place % len(colors)], LINES[place % len(LINES)]
        look = style.Look(color, MARKERS[models.index(model) % len(MARKERS)], line)
        yield recovery, model, look, {metric: part.sort_values("share") for metric, part in own.groupby("metric")}


def _line(panel: Axes, truth: pandas.Series, delta: pandas.DataFrame, look: style.Look) -> None:
    below, above = delta["value"] - delta["low"], delta["high"] - delta["value"]
    panel.errorbar(
        truth.to_numpy(), delta["value"].to_numpy(), [below.fillna(0).to_numpy(), above.fillna(0).to_numpy()],
        color=look.color, marker=look.marker, linestyle=look.line, elinewidth=0.9,
    )  # fmt: skip
