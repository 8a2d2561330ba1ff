"""The rounds of the latency measurement, and ratios between what was measured in the same round. No torch here.

`latency.parquet` has a row a variant, way of running it, context and round; a ratio of two of them is taken round by
round, so that a machine that slows down for a while changes neither.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

VARIANT = ("model", "label", "method", "level", "seed", "recovery")
PHASES = ("prefill", "decode")
# How a variant is run: as evaluation does it; an adapter of weights merged in memory; low-rank layers as two factors.
PLAIN, MERGED, FACTORS = "plain", "merged", "factors"
COLUMNS = (*VARIANT, "way", "context", "round", *(f"{phase}_ms" for phase in PHASES))


class Rounds:
    """Times in ms by (variant's row, way, context), each a list in the order of the rounds."""

    def __init__(self) -> None:
        self._times: dict[tuple, list[tuple[float, float]]] = {}

    def add(self, row: Mapping[str, Any], way: str, context: int, times: Sequence[tuple[float, float]]) -> None:
        self._times[_key(row, way, context)] = list(times)

    def of(self, row: Mapping[str, Any], way: str, context: int, phase: str) -> list[float] | None:
        """Milliseconds, one a round; None if that was not measured."""
        found = self._times.get(_key(row, way, context))
        return found and [times[PHASES.index(phase)] for times in found]

    def contexts(self, model: str) -> list[int]:
        """The contexts that a model was measured at, in rising order."""
        return sorted({key[-1] for key in self._times if key[0] == model})

    def table(self) -> pandas.DataFrame:
        rows = [(*key, number, *times) for key, some in self._times.items() for number, times in enumerate(some)]
        return pandas.DataFrame(rows, columns=list(COLUMNS))

    @classmethod
    def read(cls, path: Path) -> Rounds:
        rounds = cls()
        for key, group in pandas.read_parquet(path).groupby([*VARIANT, "way", "context"], sort=False):
            times = group.sort_values("round")[[f"{phase}_ms" for phase in PHASES]]
            rounds._times[key] = list(times.itertuples(index=False, name=None))
        return rounds


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(values: Iterable[float]) -> dict[str, float | int]:
    """Median, smallest and largest, as columns of a row."""
    values = sorted(values)
    return {"value": statistics.median(values), "low": values[0], "high": values[-1], "n": len(values)}


def _key(row: Mapping[str, Any], way: str, context: int) -> tuple:
    return (*(row[column] for column in VARIANT), way, context)
