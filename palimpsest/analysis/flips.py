"""Flips: the questions on which a variant and its dense model differ, both ways, and their difference's interval."""

from __future__ import annotations

import pandas
from statsmodels.stats.multitest import multipletests

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters, variant_name
from palimpsest.halves import half
from palimpsest.provenance import PalimpsestError

DENSE = {"label": "dense", "level": "full", "seed": 0, "recovery": "none"}


def of_dense(answers: pandas.DataFrame, model: str) -> pandas.DataFrame:
    """The answers of a model's dense control."""
    chosen = answers["model"] == model
    for column, value in DENSE.items():
        chosen &= answers[column] == value
    if not chosen.any():
        raise PalimpsestError(f"answers: the dense control {model}/dense/full/s0/none is missing.")
    return answers[chosen]


def paired(first: pandas.DataFrame, second: pandas.DataFrame, columns: list[str]) -> pandas.DataFrame:
    """Two variants' rows of the same questions side by side: `columns` with suffixes _a and _b, and the clusters."""
    if set(first["question"]) != set(second["question"]):
        odd = sorted(set(first["question"]) ^ set(second["question"]))[0]
        names = " and ".join(variant_name(frame.iloc[0]) for frame in (first, second) if len(frame))
        raise PalimpsestError(f"answers: {names} do not answer the same questions, e.g. {odd}. Run the study again.")
    left = first.assign(cluster=clusters(first))[["question", "subset", "person", "cluster", *columns]]
    return left.merge(second[["question", *columns]], on="question", suffixes=("_a", "_b"))


def difference(pairs: pandas.DataFrame, family: int = 1) -> dict[str, intervals.Estimate | float]:
    """Lost, gained and their difference (b right minus a right) over paired answers, and the sign flips' p-value."""
    change = pairs["correct_b"] - pairs["correct_a"]
    return {
        "lost": intervals.share(change < 0, pairs["cluster"]),
        "gained": intervals.share(change > 0, pairs["cluster"]),
        "difference": intervals.mean(change, pairs["cluster"]),
        "p": intervals.sign_flip(change, pairs["cluster"], family),
    }


def flips(answers: pandas.DataFrame) -> pandas.DataFrame:
    """Every variant against its model's dense control: rows of (variant, task, subset, metric, value, low, high, n).

    Metrics: `lost`, `gained`, `difference` (shares of the questions), `p` and `p_holm`, which is corrected over all
    variants of the study that answer the same task and subset. Subset "all" is all questions of the task; "half_a"
    and "half_b" are two halves of its people (difference only).
    """
    judged = answers[answers["correct"].notna()]
    variants = judged[VARIANT].drop_duplicates()
    controls = {model: of_dense(answers, model) for model in variants["model"].unique()}
    compared = [
        key for key in variants.itertuples(index=False, name=None) if key[1] != DENSE["label"] or key[-1] != "none"
    ]
    groups = dict(list(judged.groupby([*VARIANT, "task"], sort=False)))
    rows = []
    for key in compared:
        control = controls[key[0]]
        for task in judged["task"].unique():
            pairs = paired(control[control["task"] == task], groups[*key, task], ["correct"])
            for subset, part in parts(pairs):
                found = difference(part, family=len(compared))
                name = dict(zip(VARIANT, key, strict=True)) | {"task": task, "subset": subset}
                rows += [name | {"metric": metric} | found[metric].row() for metric in ("lost", "gained", "difference")]
                rows.append(name | {"metric": "p", "value": found["p"], "n": len(part)})
            if (pairs["person"] != "").all():
                for subset, part in pairs.groupby(pairs["person"].map(half), sort=True):
                    change = intervals.mean(part["correct_b"] - part["correct_a"], part["cluster"])
                    rows.append(name | {"task": task, "subset": subset, "metric": "difference"} | change.row())
    table = pandas.DataFrame(rows, columns=[*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"])
    return pandas.concat([table, _holm(table)], ignore_index=True)


def parts(frame: pandas.DataFrame) -> list[tuple[str, pandas.DataFrame]]:
    """("all", everything), each named subset, and "shown": every question but those on facts never shown."""
    named = [(subset, part) for subset, part in frame.groupby("subset", sort=True) if subset not in ("", "all")]
    shown = frame["subset"] != "never_shown"
    return [("all", frame), *named] + ([] if shown.all() else [("shown", frame[shown])])


def _holm(table: pandas.DataFrame) -> pandas.DataFrame:
    tests = table[table["metric"] == "p"].copy()
    tests["metric"] = "p_holm"
    for _, family in tests.groupby(["task", "subset"]):
        tests.loc[family.index, "value"] = multipletests(family["value"], method="holm")[1]
    return tests
