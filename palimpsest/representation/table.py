"""Rows of metrics, as every table of a study has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from palimpsest.similarity.measures import estimate

COLUMNS = ("model", "label", "method", "level", "seed", "recovery", "task", "subset", "scoring", "layer", "metric")
COLUMNS += ("value", "low", "high", "n")


def row(
    task: str, scoring: str, layer: int | str, metric: str, estimated: Mapping[str, Any], subset: str = "all"
) -> dict[str, Any]:
    """A row without the columns that name its cell; `estimated` are value, low, high and n."""
    name = {"task": task, "subset": subset, "scoring": scoring, "layer": str(layer), "metric": metric}
    return {"recovery": "none"} | name | dict(estimated)


def bounded(statistic: np.ndarray, low: float, high: float) -> dict[str, float | int]:
    """Its estimate, with an interval that keeps to what can be."""
    found = estimate(statistic)
    return found | {key: float(np.clip(found[key], low, high)) for key in ("value", "low", "high")}
