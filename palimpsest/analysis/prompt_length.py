"""What a longer soft prompt buys.

    prompt_tokens               at each soft prompt; no task: how many tokens it has
    per_doubling                at a cell without recovery: by how much the share of right answers changes when a prompt
                                has twice as many tokens
    perplexity_per_doubling     the same for texts: what perplexity is multiplied by

Both are the slope of a line through all prompts that were trained on the same pool, by least squares over the binary
logarithm of their lengths; of perplexity its logarithm is on the line. What the prompts' text tells, and a longer
prompt holds more of, is no part of it (about_facts.untold). Intervals are over people and documents: the prompts are
those that were trained, and several training seeds of a length are several points of the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters
from palimpsest.analysis.arms import TEXT, Arm
from palimpsest.analysis.pairs import parts
from palimpsest.provenance import read_json

if TYPE_CHECKING:
    from palimpsest.grid import Grid

METHOD = "prompt"
FEWEST = 3  # lengths that a line is drawn through
COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]


def prompt_tokens(results: Path, grid: Grid) -> pandas.DataFrame:
    """A row a soft prompt; its length is what its folder says, since a budget makes it from the model."""
    nothing, rows = float("nan"), []
    for variant in grid.variants():
        entry = grid.recoveries.get(variant.recovery)
        written = Path(variant.folder(str(results))) / "adapter" / "recovery.json"
        if entry is not None and entry.method == METHOD and written.exists():
            tokens = read_json(written)["options"]["tokens"]
            row = {"task": "", "subset": "", "metric": "prompt_tokens", "value": float(tokens)}
            rows.append(variant.row | row | {"low": nothing, "high": nothing, "n": 1})
    return pandas.DataFrame(rows, columns=COLUMNS)


def per_doubling(
    answers: pandas.DataFrame, tokens: pandas.DataFrame, scoring: Mapping[str, tuple[str, str]], arms: Mapping[str, Arm]
) -> pandas.DataFrame:
    """Rows of each cell with prompts of three lengths or more, task and subset.

    tokens: from `prompt_tokens`. scoring: from `task_scoring`. arms: from `arms.arms`, without which every prompt
    counts; with them those do that are trained on the text of pool R, values and all.
    """
    rows = []
    for cell, group in tokens.groupby(VARIANT[:-1], sort=True):
        lengths = {
            recovery: value
            for recovery, value in group[["recovery", "value"]].itertuples(index=False, name=None)
            if (arm := arms.get(recovery, Arm())).name == TEXT and not arm.is_swapped
        }
        if len(set(lengths.values())) < FEWEST:
            continue
        weights = slope(np.log2(list(lengths.values())))
        mine = answers[(answers[VARIANT[:-1]] == list(cell)).all(axis=1) & answers["recovery"].isin(lengths)]
        for task, asked in mine.groupby("task", sort=True):
            name = dict(zip(VARIANT, (*cell, "none"), strict=True)) | {"task": task}
            of = {recovery: part.sort_values("question") for recovery, part in asked.groupby("recovery")}
            every = [of[recovery].set_index("question", drop=False) for recovery in lengths]
            for subset, part in parts(every[0]):
                answered = [each.loc[part.index] for each in every]
                if scoring[task][1].startswith("perplexity"):
                    found = {"metric": "perplexity_per_doubling"} | _perplexity(weights, answered).row()
                elif part["correct"].notna().all():
                    found = {"metric": "per_doubling"} | _right(weights, answered).row()
                else:
                    continue
                rows.append(name | {"subset": subset} | found)
    return pandas.DataFrame(rows, columns=COLUMNS)


def slope(x: np.ndarray) -> np.ndarray:
    """The weights whose sum with values at the points `x` is the slope of the least-squares line through them."""
    centred = np.asarray(x, dtype=float) - np.mean(x)
    return centred / (centred @ centred)


def _right(weights: np.ndarray, answered: list[pandas.DataFrame]) -> intervals.Estimate:
    sums = [intervals.cluster_sums(each["correct"], clusters(each)) for each in answered]
    return intervals.weighted_sum(weights, [intervals.clustered_share(*each, student=True) for each in sums])


def _perplexity(weights: np.ndarray, answered: list[pandas.DataFrame]) -> intervals.Estimate:
    documents = clusters(answered[0])
    sums = [intervals.cluster_sums(each[column], documents)[0] for each in answered for column in ("score", "tokens")]

    def multiplied(*drawn: np.ndarray) -> np.ndarray:
        logarithms = [-score.sum(-1) / tokens.sum(-1) for score, tokens in zip(drawn[::2], drawn[1::2], strict=True)]
        return np.exp(sum(weight * each for weight, each in zip(weights, logarithms, strict=True)))

    return intervals.bootstrap(multiplied, [sums], n=len(answered[0]))
