"""How much of what was lost was only displaced: what comes back about people of whom the recovery text says nothing.

People are dealt into pools: R (the recovery text speaks of them), V (validation), U (test). A fact is known if the
dense model is right on all its *selection* forms; it is scored on its other forms. K is the chance-corrected share of
known facts,

    K(M) = Σ(s − c) / Σ(1 − c),

s = 1 for a right answer and c the chance that the same answer would be right with the values dealt anew among the
people of the stratum (same attribute, similar frequency, questions shown or not). Then

    returned unseen  δ = [K_U(recovered) − K_U(cell)] / [K_U(dense) − K_U(cell)]
    re-learned       ρ = the same ratio on R, minus δ.

δ is a lower bound on what was displaced. Where K_U fell by under ten points there is nothing to return, hence no
verdict.
"""

from __future__ import annotations

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import of_dense

LEAST_DAMAGE = 0.10
FREQUENCY_STRATA = 3
POOLS = ("R", "V", "U")


def known_facts(answers: pandas.DataFrame, questions: pandas.DataFrame) -> pandas.DataFrame:
    """(model, person, attribute) of the facts that the dense model gets right on every selection form.

    `answers` are one task's, `questions` come from `read_questions`.
    """
    selecting = questions[questions["use"] == "select"]
    dense = pandas.concat([of_dense(answers, model) for model in answers["model"].unique()]).drop(columns="person")
    right = dense.merge(selecting, on="question").groupby(["model", "person", "attribute"])["correct"].min()
    return right[right == 1].reset_index()[["model", "person", "attribute"]]


def scored_facts(
    answers: pandas.DataFrame, questions: pandas.DataFrame, facts: pandas.DataFrame, known: pandas.DataFrame
) -> pandas.DataFrame:
    """One row a question on a known fact: the variant's columns, person, pool, `above` = s − c and `room` = 1 − c.

    `answers` are one task's, `questions` come from `read_questions`, `facts` is facts.parquet, `known` from
    `known_facts`.
    """
    facts = facts[facts["shown"].astype(bool)].copy()
    rank = facts["rank"].rank(method="dense")
    frequency = np.ceil(FREQUENCY_STRATA * rank / rank.max()).astype(int)
    facts["stratum"] = frequency.astype(str) + "/" + facts["questions_shown"].astype(bool).astype(str)
    columns = ["person", "attribute", "stratum", "pool"]
    rows = answers.drop(columns="person").merge(questions.drop(columns="pool"), on="question").merge(facts[columns])
    rows = rows.merge(known, on=["model", "person", "attribute"])
    rows = rows[rows["use"] != "select"]
    chance = (
        facts.groupby(["attribute", "stratum"])["value"].value_counts(normalize=True).rename("chance").reset_index()
    )
    chance = chance.rename(columns={"value": "answer"})
    rows = rows.assign(answer=rows["answer"].str.strip()).merge(
        chance, on=["attribute", "stratum", "answer"], how="left"
    )
    guess = rows["chance"].fillna(0.0)  # an answer that is nobody's value is never right by chance
    return rows.assign(above=rows["correct"] - guess, room=1 - guess)


def known_share(rows: pandas.DataFrame) -> intervals.Estimate:
    """K of one variant, from its `scored_facts`."""
    above, room = _by_person(rows)
    return intervals.bootstrap(lambda a, r: a.sum(-1) / r.sum(-1), [(above, room)], n=len(rows))


def displaced(
    dense: pandas.DataFrame, cell: pandas.DataFrame, recovered: pandas.DataFrame
) -> dict[str, intervals.Estimate]:
    """`damage`, `returned_unseen` δ and `relearned` ρ from three variants' `scored_facts`; no verdict is NaN."""
    unseen, seen = (
        [_by_person(rows[rows["pool"] == pool]) for rows in (dense, cell, recovered)] for pool in ("U", "R")
    )
    n = int((dense["pool"] == "U").sum())
    damage = _damage(unseen[0], unseen[1], n)
    if not damage.value >= LEAST_DAMAGE or len(seen[0][0]) == 0:
        nothing = intervals.Estimate(float("nan"), float("nan"), float("nan"), n)
        return {"damage": damage, "returned_unseen": nothing, "relearned": nothing}
    populations = [sum(unseen, ()), sum(seen, ())]
    returned = intervals.bootstrap(_returned, populations[:1], n=n)
    relearned = intervals.bootstrap(lambda *sums: _returned(*sums[6:]) - _returned(*sums[:6]), populations, n=n)
    return {"damage": damage, "returned_unseen": returned, "relearned": relearned}


def damage(dense: pandas.DataFrame, cell: pandas.DataFrame) -> intervals.Estimate:
    """K_U(dense) − K_U(cell)."""
    pools = [rows[rows["pool"] == "U"] for rows in (dense, cell)]
    return _damage(*map(_by_person, pools), n=len(pools[0]))


def _damage(dense: tuple, cell: tuple, n: int) -> intervals.Estimate:
    return intervals.bootstrap(lambda ad, rd, ac, rc: _ratio(ad, rd) - _ratio(ac, rc), [dense + cell], n=n)


def _returned(dense_above, dense_room, cell_above, cell_room, recovered_above, recovered_room):
    before = _ratio(cell_above, cell_room)
    return (_ratio(recovered_above, recovered_room) - before) / (_ratio(dense_above, dense_room) - before)


def _ratio(above: np.ndarray, room: np.ndarray) -> np.ndarray:
    return above.sum(-1) / room.sum(-1)


def _by_person(rows: pandas.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    sums = rows.groupby("person", sort=True)[["above", "room"]].sum()
    return sums["above"].to_numpy(), sums["room"].to_numpy()


def table(scored: pandas.DataFrame) -> pandas.DataFrame:
    """`known_share` of each variant and pool, `damage` of each cell, δ and ρ of each recovery."""
    groups = dict(list(scored.groupby(VARIANT, sort=True)))
    out = []
    for key, rows in groups.items():
        name = dict(zip(VARIANT, key, strict=True))
        for pool in POOLS:
            if (rows["pool"] == pool).any():
                estimate = known_share(rows[rows["pool"] == pool])
                out.append(name | {"subset": f"pool {pool}", "metric": "known_share"} | estimate.row())
        dense = groups.get((key[0], "dense", "dense", "full", 0, "none"))
        cell = groups.get((*key[:-1], "none"))
        if name["label"] == "dense" or not (rows["pool"] == "U").any():
            continue
        if name["recovery"] == "none":
            out.append(name | {"subset": "pool U", "metric": "damage"} | damage(dense, rows).row())
            continue
        for metric, estimate in displaced(dense, cell, rows).items():
            if metric != "damage":
                pool = "pool U" if metric == "returned_unseen" else "pool R"
                out.append(name | {"subset": pool, "metric": metric} | estimate.row())
    return pandas.DataFrame(out, columns=[*VARIANT, "subset", "metric", "value", "low", "high", "n"])
