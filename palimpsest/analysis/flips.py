"""Flips: the questions on which a variant and its dense model differ, both ways, what their difference is worth, and
whether it is more than chance."""

from __future__ import annotations

from collections.abc import Iterator

import pandas

from palimpsest.analysis import intervals, matching, multiple, power
from palimpsest.analysis.answers import VARIANT, clusters
from palimpsest.analysis.pairs import DENSE, of_dense, paired, parts
from palimpsest.halves import half

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]


def difference(pairs: pandas.DataFrame) -> dict[str, intervals.Estimate]:
    """What changed over paired answers (a: dense, b: the variant), with intervals.

    `lost`, `gained` and `difference` (b right minus a right) are shares of the questions, `relative_drop` is
    (a right − b right)/a right. `matching` is 1, 0 or −1 (`matching.verdict`); `detectable` is the difference that
    would have been found with power 0.8 (`power.detectable`). The last two have no interval.
    """
    change, groups, n = pairs["correct_b"] - pairs["correct_a"], pairs["cluster"], len(pairs)
    lost, gained = intervals.changes(change, groups)
    net = intervals.weighted_sum((-1, 1), (lost, gained))
    alone = {
        "matching": matching.verdict(pairs["correct_a"], pairs["correct_b"], groups),
        "detectable": power.detectable(net, groups.nunique()),
    }
    return {
        "lost": lost.estimate,
        "gained": gained.estimate,
        "difference": net,
        "relative_drop": matching.relative_drop(pairs["correct_a"], pairs["correct_b"], groups),
    } | {metric: _alone(value, n) for metric, value in alone.items()}


def flips(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Every variant against its model's dense control: rows of (variant, task, subset, metric, value, low, high, n).

    Metrics: those of `difference`, and the p-values of `multiple.p_values`, whose family is all variants of the study
    that answer the same task and subset. Subset "all" is all questions of the task; "half_a" and "half_b" are two
    halves of its people (difference only).
    """
    judged = answers[answers["correct"].notna()]
    variants = judged[VARIANT].drop_duplicates()
    controls = {model: of_dense(answers, model) for model in variants["model"].unique()}
    compared = [
        key for key in variants.itertuples(index=False, name=None) if key[1] != DENSE["label"] or key[-1] != "none"
    ]
    groups = dict(list(judged.groupby([*VARIANT, "task"], sort=False)))
    rows = []
    for task in judged["task"].unique():
        changes: dict[str, dict[tuple, pandas.Series]] = {}
        for key in compared:
            own, control = groups.get((*key, task)), controls[key[0]]
            control = control[control["task"] == task]
            # Not every model answers every task, and an encoder's control is a dense model that was fine-tuned.
            if own is None or (len(control) and tuple(control[VARIANT].iloc[0]) == key):
                continue
            pairs = paired(control, own, ["correct"])
            name = dict(zip(VARIANT, key, strict=True)) | {"task": task}
            for subset, part in parts(pairs):
                part = part.assign(cluster=clusters(part))
                rows += [name | {"subset": subset, "metric": metric} | found.row()
                         for metric, found in difference(part).items()]  # fmt: skip
                change = (part["correct_b"] - part["correct_a"]).groupby(part["cluster"]).sum()
                changes.setdefault(subset, {})[*key, len(part)] = change
            rows += [name | row for row in _of_halves(pairs)]
        for subset, family in changes.items():
            for (*key, n), found in multiple.family(family).items():
                name = dict(zip(VARIANT, key, strict=True)) | {"task": task, "subset": subset}
                rows += [name | {"metric": metric} | _alone(value, n).row() for metric, value in found.items()]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _of_halves(pairs: pandas.DataFrame) -> Iterator[dict]:
    """The difference on the questions about each half of the people."""
    if (pairs["person"] == "").any():
        return
    for subset, part in pairs.groupby(pairs["person"].map(half), sort=True):
        change = intervals.paired_difference(part["correct_b"] - part["correct_a"], part["cluster"])
        yield {"subset": subset, "metric": "difference"} | change.row()


def _alone(value: float, n: int) -> intervals.Estimate:
    """A number without an interval."""
    return intervals.Estimate(float(value), float("nan"), float("nan"), n)
