"""Does the estimator find what was planted? Estimate against truth, and how often it says that something returned."""

from __future__ import annotations

from collections.abc import Iterator

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.presentation import style
from palimpsest.presentation.data import Tables
from palimpsest.provenance import PalimpsestError

TITLE = "The estimator on planted truths"
TASK = "closed_book"
LINES = (style.SOLID, style.DASHED, style.DASHDOT, style.DOTTED)
LEVEL = 5  # per cent: how often intervals of 95 % may leave out a truth of nothing


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Left: share that returned unseen against the share that could; right: share of replicates that say so at all.

    A line a recovery and planted model, in a colour a recovery; models whose damage has one share only are points.
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
    for name, look, share, numbers in _lines(rows):
        delta, detected = numbers["planted_delta"], numbers["planted_power"]["value"]
        truth = numbers["planted_truth"]["value"]
        handles[name] = _line(calibration, truth, delta, look)
        power.plot(share, detected, color=look.color, marker=look.marker, linestyle=look.line, clip_on=False, zorder=3)
    for panel in (calibration, power):
        panel.set_xlim(-4, 104)
        panel.set_xticks([0, 25, 50, 75, 100])
    calibration.set_xlabel("share of the damage that is only displaced (%)")
    calibration.set_ylabel("returned unseen, estimated (%)")
    power.set_xlabel("share of the people who are displaced (%)")
    power.set_ylabel("interval above 0 (% of replicates)")
    power.set_ylim(-4, 104)
    style.legend(figure, list(handles.values()), list(handles))
    return figure


def _lines(rows: pandas.DataFrame) -> Iterator[tuple[str, style.Look, list[float], dict[str, pandas.DataFrame]]]:
    """(name, look, shares, metric -> its rows by share) of each recovery of each model, all in per cent."""
    palette = list(style.METHODS.values())
    recoveries = list(dict.fromkeys(sorted(rows["recovery"])))
    for number, recovery in enumerate(recoveries):
        color, marker, _ = palette[(4 * number) % len(palette)]
        models = sorted(set(rows.loc[rows["recovery"] == recovery, "model"]))
        for place, model in enumerate(models):
            own = rows[(rows["recovery"] == recovery) & (rows["model"] == model)]
            own = own[own["subset"].str.startswith("share=")]
            share = own["subset"].str.removeprefix("share=").astype(float) * 100
            own = own.assign(share=share, **{key: own[key] * 100 for key in ("value", "low", "high")})
            numbers = {metric: part.sort_values("share") for metric, part in own.groupby("metric")}
            look = style.Look(color, marker, LINES[place % len(LINES)])
            yield f"{recovery}, {model}", look, numbers["planted_truth"]["share"].tolist(), numbers


def _line(panel: Axes, truth: pandas.Series, delta: pandas.DataFrame, look: style.Look):
    below, above = delta["value"] - delta["low"], delta["high"] - delta["value"]
    return panel.errorbar(
        truth.to_numpy(), delta["value"].to_numpy(), [below.fillna(0).to_numpy(), above.fillna(0).to_numpy()],
        color=look.color, marker=look.marker, linestyle=look.line, elinewidth=0.9,
    )  # fmt: skip
