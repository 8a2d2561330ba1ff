"""How the estimator of what returned did on planted truths, in sentences: a line a recovery and planted model."""

from __future__ import annotations

import pandas

from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.figures.planted import TASK
from palimpsest.presentation.summary import percent


def calibration(tables: Tables) -> list[str]:
    """What returned of all that was displaced and of all that was erased, slope, power at one half, and the null."""
    rows = tables.metrics[(tables.metrics["task"] == TASK) & tables.metrics["metric"].str.startswith("planted_")]
    sentences = []
    for (recovery, model), own in rows.groupby(["recovery", "model"], sort=True):
        found = {(row.subset, row.metric): row for row in own.itertuples()}
        parts = []
        if ("displaced", "planted_delta") in found:
            truth = found["displaced", "planted_truth"].value
            parts.append(
                f"{_percent(found['displaced', 'planted_delta'])} where {100 * truth:.0f} % was only displaced"
            )
        if ("erased", "planted_delta") in found:
            parts.append(f"{_percent(found['erased', 'planted_delta'])} where nothing could")
        words = f"{recovery} on {model} brought back {', '.join(parts)}"
        if ("all", "planted_slope") in found:
            slope, power = found["all", "planted_slope"], found["share=0.5", "planted_power"].value
            ends = f"[{slope.low:.2f}, {slope.high:.2f}]"
            words += f"; slope {slope.value:.2f} {ends}".replace("-", "−")
            words += f", power at a share of one half {100 * power:.0f} %"
        if ("erased", "planted_null") in found:
            null = found["erased", "planted_null"]
            words += f"; after {null.n} new deals of the erased values the interval held 0 in {_percent(null)}"
        sentences.append(f"{words}.")
    return sentences


def _percent(row: pandas.Series) -> str:
    return percent(Number(row.value, row.low, row.high, row.n), 0)
