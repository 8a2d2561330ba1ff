"""What probes read, as metrics: rows of metrics.parquet from the probes' outcomes (probing/study.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.intervals import Estimate

COLUMNS = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
KEY = [*VARIANT, "task", "subset", "scoring", "layer", "metric"]
NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0)


def table(outcomes: Iterable[pandas.DataFrame]) -> pandas.DataFrame:
    """acc, control_acc and selectivity of every probe, and of all its subsets together."""
    rows = [row for each in outcomes for row in _rows(each)]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _rows(outcomes: pandas.DataFrame) -> Iterator[dict[str, Any]]:
    outcomes = outcomes.astype({"subset": str})
    together = outcomes.assign(subset="all")
    for part in [outcomes, together]:
        for key, group in part.groupby(KEY, sort=True, observed=True):
            name = dict(zip(KEY, key, strict=True))
            name["layer"] = str(name["layer"])
            for metric, estimate in _estimates(group).items():
                yield name | {"metric": metric} | estimate.row()


def _estimates(group: pandas.DataFrame) -> dict[str, Estimate]:
    tested = group.dropna(subset="value")
    if tested.empty:
        return dict.fromkeys(("acc", "control_acc", "selectivity"), NOTHING)
    clusters = tested["cluster"].astype(str)
    return {
        "acc": intervals.share(tested["value"], clusters),
        "control_acc": intervals.share(tested["control"], clusters),
        "selectivity": intervals.paired_difference(tested["value"] - tested["control"], clusters),
    }
