"""Does compression cost more where the text is long? The interaction of level and length, not the level alone.

A task whose subsets are named `people=1`, `people=8`, … or `words=64` asks in buckets of length. That a variant is bad
at long texts says nothing if the dense model is bad at them too: of each kind of length only those buckets count in
which the dense control answers at least DENSE_ENOUGH of the questions (`bucket_kept` says which). Then

    length_interaction = [loss in the longest kept bucket] − [loss in the shortest],   loss = dense − variant,

and its interval knows how the two losses go together where both buckets have a passage.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import DENSE, of_dense, paired

DENSE_ENOUGH = 0.95
BUCKET = re.compile(r"(\w+)=(\d+)")  # a subset: what is counted, how much of it
COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]


def interactions(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Rows `bucket_kept` (1 or 0, at the dense control, by bucket) and `length_interaction` (at every other variant, by
    kind of length; not a number, from no question, where the dense model leaves fewer than two buckets)."""
    asked = answers[answers["correct"].notna() & answers["subset"].str.fullmatch(BUCKET)]
    rows: list[dict] = []
    for (model, task), group in asked.groupby(["model", "task"], sort=True):
        control = of_dense(group, model)
        shares = control.groupby("subset")["correct"].mean()
        dense = {"model": model, **DENSE, "method": "dense", "task": task}
        for bucket, of_bucket in control.groupby("subset", sort=True):
            kept = {"metric": "bucket_kept", "value": float(shares[bucket] >= DENSE_ENOUGH), "n": len(of_bucket)}
            rows.append(dense | {"subset": bucket} | kept)
        for key, variant in group.groupby(VARIANT, sort=True):
            name = dict(zip(VARIANT, key, strict=True)) | {"task": task, "metric": "length_interaction"}
            if name["label"] == DENSE["label"] and name["recovery"] == DENSE["recovery"]:
                continue
            pairs = paired(control, variant, ["correct"])
            for kind, buckets in _kinds(shares).items():
                rows.append(name | {"subset": kind} | interaction(pairs, buckets).row())
    return pandas.DataFrame(rows, columns=COLUMNS)


def interaction(pairs: pandas.DataFrame, buckets: list[str]) -> intervals.Estimate:
    """Loss in the last of the buckets minus loss in the first. `pairs` are `paired` answers, the control's first."""
    if len(buckets) < 2:
        return intervals.Estimate(math.nan, math.nan, math.nan, 0)
    ends = [pairs[pairs["subset"] == bucket] for bucket in (buckets[-1], buckets[0])]
    everyone = sorted({name for end in ends for name in end["cluster"]})
    shares = []
    for end in ends:
        names = sorted(set(end["cluster"]))
        for share in intervals.changes(end["correct_b"] - end["correct_a"], end["cluster"]):  # lost, gained
            residuals = pandas.Series(share.residuals, names).reindex(everyone, fill_value=0.0)
            shares.append(replace(share, residuals=residuals.to_numpy()))
    return intervals.weighted_sum((1, -1, -1, 1), shares)


def _kinds(shares: pandas.Series) -> dict[str, list[str]]:
    """Kind of length -> its kept buckets, shortest first."""
    found: dict[str, list[str]] = {}
    for bucket in sorted(shares.index, key=lambda bucket: int(BUCKET.fullmatch(bucket)[2])):
        kept = found.setdefault(BUCKET.fullmatch(bucket)[1], [])
        if shares[bucket] >= DENSE_ENOUGH:
            kept.append(bucket)
    return found
