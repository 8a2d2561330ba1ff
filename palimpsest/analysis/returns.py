"""What each recovery of a study brought back of the facts of the world: the estimates of knowledge.py, as metrics.

known_share          of each variant, on "pool R", "pool V" and "pool U"
damage               of each cell, on "pool R", "pool U", both ("all"), and by how often training said the fact
                     ("exposures 12-40": thirds of the known facts)
returned_unseen, relearned, not_returned, known_change
                     of each recovery: over its folds ("all"), also by exposures, and each fold by itself (on the
                     pool that it is measured on, with the name of the recovery or of its twin)
repaired_unseen, repaired_relearned, not_repaired
                     the same of recoveries that look at the dense weights, apart: that is no displacement
arm                  no task; the subset is the recovery's arm (arms.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas

from palimpsest.analysis import arms as arms_
from palimpsest.analysis import knowledge
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.arms import Arm
from palimpsest.analysis.intervals import Estimate
from palimpsest.analysis.knowledge import Fold

COLUMNS = [*VARIANT, "subset", "metric", "value", "low", "high", "n"]
EXPOSURE_STRATA = 3
APART = {"returned_unseen": "repaired_unseen", "relearned": "repaired_relearned", "not_returned": "not_repaired"}
ON_SEEN = ("relearned", "not_returned")  # what is measured on the people that the text speaks of

Variant = tuple
Scored = Mapping[str, Mapping[Variant, pandas.DataFrame]]  # pool that a text speaks of -> variant -> `scored_facts`


def table(scored: Mapping[str, pandas.DataFrame], arms: Mapping[str, Arm]) -> pandas.DataFrame:
    """All of these metrics of one task.

    scored: `knowledge.scored_facts` of all variants, by the pool that a recovery's text speaks of, on which the chance
        of a right guess may depend. arms: from `arms.arms`; a recovery without one has a text about pool R.
    """
    with_strata = {seen: rows.assign(stratum=exposure_strata(rows)) for seen, rows in scored.items()}
    groups = {seen: dict(list(rows.groupby(VARIANT, sort=True))) for seen, rows in with_strata.items()}
    rows: list[dict] = []
    for variant, facts in groups["R"].items():
        name = dict(zip(VARIANT, variant, strict=True))
        for subset, metric, estimate in _of_variant(groups, variant, facts, arms):
            rows.append(name | {"subset": subset, "metric": metric} | estimate.row())
    return pandas.DataFrame(rows, columns=COLUMNS)


def arm_rows(variants: pandas.DataFrame, arms: Mapping[str, Arm]) -> pandas.DataFrame:
    """The arm of each recovered variant, as a metric without a task; `value` is 1 where the pools are swapped."""
    recovered = variants.loc[variants["recovery"] != "none", VARIANT].drop_duplicates()
    found = [arms.get(recovery, Arm()) for recovery in recovered["recovery"]]
    nothing = float("nan")
    return recovered.assign(
        task="", metric="arm", subset=[arm.name for arm in found], value=[float(arm.is_swapped) for arm in found],
        low=nothing, high=nothing, n=1,
    )  # fmt: skip


def _of_variant(
    groups: Scored, variant: Variant, facts: pandas.DataFrame, arms: Mapping[str, Arm]
) -> Iterator[tuple[str, str, Estimate]]:
    for pool in knowledge.POOLS:
        if (facts["pool"] == pool).any():
            yield f"pool {pool}", "known_share", knowledge.known_share(facts[facts["pool"] == pool])
    if not (facts["pool"] == "U").any():
        return
    model, label, *_, recovery = variant
    if recovery != "none":
        yield from _of_recovery(groups, variant, arms)
    elif label != "dense":
        yield from _of_cell(groups["R"][_dense(model)], facts)


def _of_cell(dense: pandas.DataFrame, cell: pandas.DataFrame) -> Iterator[tuple[str, str, Estimate]]:
    for pools in (("R",), ("U",), ("R", "U")):
        if all((dense["pool"] == pool).any() for pool in pools):
            yield f"pool {pools[0]}" if len(pools) == 1 else "all", "damage", knowledge.damage(dense, cell, pools)
    for stratum in sorted(dense["stratum"].unique()):
        parts = (rows[rows["stratum"] == stratum] for rows in (dense, cell))
        yield stratum, "damage", knowledge.damage(*parts, ("R", "U"))


def _of_recovery(groups: Scored, variant: Variant, arms: Mapping[str, Arm]) -> Iterator[tuple[str, str, Estimate]]:
    *cell, recovery = variant
    arm = arms.get(recovery, Arm())
    names = APART if arm.name == arms_.CONSULTS else {}
    own = _fold(groups, variant, arm)
    for metric, estimate in _estimates([own], cell).items():
        pool = arm.seen if metric in ON_SEEN else arm.unseen
        yield f"pool {pool}", names.get(metric, metric), estimate
    if arm.is_swapped:
        return
    twin = (*cell, arm.twin)
    folds = [own, _fold(groups, twin, arms[arm.twin])] if twin in groups["R"] else [own]
    for subset in ("all", *sorted(own.dense["stratum"].unique())):
        parts = folds if subset == "all" else [_part(fold, subset) for fold in folds]
        for metric, estimate in _estimates(parts, cell).items():
            yield subset, names.get(metric, metric), estimate


def _estimates(folds: Sequence[Fold], cell: Sequence) -> dict[str, Estimate]:
    found = knowledge.returned(folds)
    del found["damage"]  # the cell's
    # Nothing can return to a model that lost nothing.
    return {"known_change": found["known_change"]} if cell[1] == "dense" else found


def _fold(groups: Scored, variant: Variant, arm: Arm) -> Fold:
    rows = groups[arm.seen]
    three = (rows[key] for key in (_dense(variant[0]), (*variant[:-1], "none"), variant))
    return Fold(*three, seen=arm.seen, unseen=arm.unseen)


def _part(fold: Fold, stratum: str) -> Fold:
    three = (rows[rows["stratum"] == stratum] for rows in (fold.dense, fold.cell, fold.recovered))
    return Fold(*three, seen=fold.seen, unseen=fold.unseen)


def exposure_strata(scored: pandas.DataFrame) -> pandas.Series:
    """`exposures 12-40` of each row: thirds of the known facts of its model, by how often training said them."""
    facts = scored.drop_duplicates(["model", "person", "attribute"])
    third = facts.groupby("model")["exposures"].transform(
        lambda said: pandas.qcut(said, EXPOSURE_STRATA, labels=False, duplicates="drop")
    )
    ends = facts.groupby(["model", third])["exposures"].transform
    name = "exposures " + ends("min").astype(str) + "-" + ends("max").astype(str)
    keys = ["model", "exposures"]
    of = facts[keys].assign(name=name).drop_duplicates(keys).set_index(keys)["name"]
    return scored[keys].merge(of, left_on=keys, right_index=True, how="left")["name"].set_axis(scored.index)


def _dense(model: str) -> Variant:
    return (model, "dense", "dense", "full", 0, "none")
