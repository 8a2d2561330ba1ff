"""Several replicates of a study, whose worlds and models share no draw: means over them, with intervals.

An interval of one study says how its result would move with other people of the same world. These say how it moves from
world to world, training included: Student's t over the replicates' values, which are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
from scipy import stats

from palimpsest.provenance import PalimpsestError

KEY = ["model", "label", "method", "level", "seed", "recovery", "task", "subset", "scoring", "layer", "metric"]


def read(folders: Sequence[Path]) -> pandas.DataFrame:
    """metrics.parquet of all result folders, with a column `replicate`: the folder's name."""
    tables = []
    for folder in folders:
        if not (folder / "metrics.parquet").is_file():
            raise PalimpsestError(f"{folder}: no metrics.parquet: run this replicate to its end first.")
        tables.append(pandas.read_parquet(folder / "metrics.parquet").assign(replicate=folder.name))
    return pandas.concat(tables, ignore_index=True)


def pooled(metrics: pandas.DataFrame, level: float = 0.95) -> pandas.DataFrame:
    """One row a metric and variant: mean over the replicates with its interval, smallest, largest, and how many.

    A replicate without a value (no verdict where little was damaged) does not count; of one alone there is no interval.
    """
    metrics = metrics[metrics["value"].notna()]
    keys = [column for column in KEY if column in metrics]
    found = metrics.groupby(keys, sort=True, dropna=False)["value"]
    table = found.agg(["mean", "std", "min", "max", "count"]).reset_index()
    quantile = stats.t.ppf((1 + level) / 2, table["count"].clip(lower=2) - 1)
    half = np.where(table["count"] > 1, quantile * table["std"] / np.sqrt(table["count"]), np.nan)
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    return table.rename(columns={"mean": "value", "count": "replicates", "min": "smallest", "max": "largest"})[
        [*keys, "value", "low", "high", "smallest", "largest", "replicates"]
    ]
