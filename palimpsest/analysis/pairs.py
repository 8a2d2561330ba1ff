"""A variant beside its dense model: the same questions, answered by both, with what groups them."""

from __future__ import annotations

import pandas

from palimpsest.analysis.answers import GROUPS, clusters, variant_name
from palimpsest.provenance import PalimpsestError

DENSE = {"label": "dense", "level": "full", "seed": 0, "recovery": "none"}


def of_dense(answers: pandas.DataFrame, model: str) -> pandas.DataFrame:
    """The answers of a model's dense control.

    An encoder answers nothing before it is fine-tuned: its control is the dense model fine-tuned, for each task by the
    first of the recoveries (by name) that it answers that task with.
    """
    chosen = answers["model"] == model
    for column in ("label", "level", "seed"):
        chosen &= answers[column] == DENSE[column]
    dense = answers[chosen]
    plain = dense[dense["recovery"] == DENSE["recovery"]]
    found = plain if len(plain) else dense[dense["recovery"] == dense.groupby("task")["recovery"].transform("min")]
    if not len(found):
        raise PalimpsestError(f"answers: the dense control {model}/dense/full/s0/none is missing.")
    return found


def paired(first: pandas.DataFrame, second: pandas.DataFrame, columns: list[str]) -> pandas.DataFrame:
    """Two variants' rows of the same questions side by side: `columns` with suffixes _a and _b, and the clusters."""
    if set(first["question"]) != set(second["question"]):
        odd = sorted(set(first["question"]) ^ set(second["question"]))[0]
        names = " and ".join(variant_name(frame.iloc[0]) for frame in (first, second) if len(frame))
        raise PalimpsestError(f"answers: {names} do not answer the same questions, e.g. {odd}. Run the study again.")
    left = first.assign(cluster=clusters(first))[["question", "subset", *GROUPS, "cluster", *columns]]
    return left.merge(second[["question", *columns]], on="question", suffixes=("_a", "_b"))


def parts(frame: pandas.DataFrame) -> list[tuple[str, pandas.DataFrame]]:
    """("all", everything), each named subset, and "shown": every question but those on facts never shown."""
    named = [(subset, part) for subset, part in frame.groupby("subset", sort=True) if subset not in ("", "all")]
    shown = frame["subset"] != "never_shown"
    return [("all", frame), *named] + ([] if shown.all() else [("shown", frame[shown])])
