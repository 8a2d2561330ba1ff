"""At equal bytes: a small dense model, or a large one compressed?

For two models of a study, the cells of the larger (in bytes) that have no more bytes than the smaller has dense are
candidates; nothing is interpolated. On each task the best of them is chosen on half_a of the people (or passages, or
questions: whatever clusters the task's answers) and compared with the small dense model on half_b alone, since the best
of several is better than it is on the questions that it was chosen by. Facts that no training text says are left out.

Bytes are `bytes_total` of measurements.parquet: as they lie on disk, a dense matrix in the type of its checkpoint.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import DENSE, of_dense, paired
from palimpsest.halves import HALVES, half

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]
CONTROL = DENSE | {"method": "dense"}


def at_equal_bytes(answers: pandas.DataFrame, measurements: pandas.DataFrame | None) -> pandas.DataFrame:
    """Rows of metrics; `subset` is the name of the other model.

    at_equal_bytes: at the chosen cell, by task; its share of right answers minus the small dense model's, on half_b.
    perplexity_at_equal_bytes: the same for texts: its perplexity divided by the small dense model's.
    cells_at_equal_bytes: at the small dense model, without a task: how many cells of the larger are no larger than it.
    """
    if measurements is None:
        return pandas.DataFrame(columns=COLUMNS)
    plain = answers[answers["recovery"] == "none"]
    sizes = _sizes(measurements)
    dense = {}
    for model in plain["model"].unique():
        found = sizes.get((model, *(CONTROL[column] for column in VARIANT[1:])))
        dense |= {} if found is None else {model: found}
    tasks = {model: set(plain.loc[plain["model"] == model, "task"]) for model in dense}
    rows: list[dict] = []
    for small, large in itertools.permutations(dense, 2):
        # An encoder is not compared with a decoder, which answers other tasks.
        cells = _cells(plain, large) if dense[large] > dense[small] and tasks[small] == tasks[large] else {}
        if not cells:
            continue
        candidates = {key: found for key, found in cells.items() if sizes.get(key, np.inf) <= dense[small]}
        row = {"model": small, "task": "", "subset": large, "metric": "cells_at_equal_bytes"} | CONTROL
        rows.append(row | {"value": float(len(candidates)), "n": len(cells)})
        if candidates:
            rows += _compared(of_dense(plain, small), candidates, small)
    return pandas.DataFrame(rows, columns=COLUMNS)


def _compared(small: pandas.DataFrame, cells: dict[tuple, pandas.DataFrame], name: str) -> Iterator[dict]:
    """A row for each task in which answers are right or wrong, or texts are scored token by token."""
    for task, own in small[small["subset"] != "never_shown"].groupby("task", sort=True):
        columns = ["correct"] if own["correct"].notna().all() else ["score", "tokens"]
        pairs = {}
        for key, answers in cells.items():
            theirs = answers[(answers["task"] == task) & (answers["subset"] != "never_shown")]
            pairs[key] = paired(own, theirs, columns)
        if not all(_comparable(found, columns) for found in pairs.values()):
            continue
        first = next(iter(pairs.values()))["cluster"].map(half) == HALVES[0]
        merits = {key: _merit(found[first], columns) for key, found in pairs.items()}
        chosen = max(sorted(merits), key=merits.__getitem__)
        metric, compare = COMPARISONS[columns[0]]
        row = dict(zip(VARIANT, chosen, strict=True)) | {"task": task, "subset": name, "metric": metric}
        yield row | compare(pairs[chosen][~first]).row()


def _comparable(pairs: pandas.DataFrame, columns: list[str]) -> bool:
    """Whether each question has its numbers, and each text as many tokens for both models."""
    whole = pairs[[f"{column}_{side}" for column in columns for side in "ab"]].notna().all(axis=None)
    return bool(whole) and ("tokens" not in columns or bool((pairs["tokens_a"] == pairs["tokens_b"]).all()))


def _merit(pairs: pandas.DataFrame, columns: list[str]) -> float:
    """What the best cell has most of: right answers, or log-likelihood a token."""
    if columns == ["correct"]:
        return float(pairs["correct_b"].mean())
    return float(pairs["score_b"].sum() / pairs["tokens_b"].sum())


def _difference(pairs: pandas.DataFrame) -> intervals.Estimate:
    return intervals.paired_difference(pairs["correct_b"] - pairs["correct_a"], pairs["cluster"])


def _ratio(pairs: pandas.DataFrame) -> intervals.Estimate:
    sums = [intervals.cluster_sums(pairs[column], pairs["cluster"])[0] for column in ("score_a", "score_b", "tokens_a")]
    return intervals.bootstrap(lambda a, b, n: np.exp((a.sum(-1) - b.sum(-1)) / n.sum(-1)), [sums], n=len(pairs))


COMPARISONS = {"correct": ("at_equal_bytes", _difference), "score": ("perplexity_at_equal_bytes", _ratio)}


def _cells(answers: pandas.DataFrame, model: str) -> dict[tuple, pandas.DataFrame]:
    """variant -> its answers, of a model's compressed cells."""
    compressed = answers[(answers["model"] == model) & (answers["label"] != DENSE["label"])]
    return dict(list(compressed.groupby(VARIANT, sort=True)))


def _sizes(measurements: pandas.DataFrame) -> dict[tuple, float]:
    """variant -> bytes_total."""
    rows = measurements[measurements["metric"] == "bytes_total"]
    rows = rows.assign(seed=rows["seed"].astype(str).str.removeprefix("s").astype(int))
    return {tuple(row[:-1]): float(row[-1]) for row in rows[[*VARIANT, "value"]].itertuples(index=False, name=None)}
