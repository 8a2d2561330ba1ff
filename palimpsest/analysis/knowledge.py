"""How much of what was lost was only displaced: what comes back about people of whom the recovery text says nothing.

People are dealt into pools: R (the recovery text speaks of them), V (validation), U (test). A fact is known if the
dense model is right on all its *selection* forms; it is scored on its other forms, so that facts which were selected by
luck are wrong there in every variant alike. K is the chance-corrected share of known facts,

    K(M) = Σ(s − c) / Σ(1 − c),

s = 1 for a right answer and c the chance that the same answer would be right without knowing the fact (chance.py);
below the line it is that of the right answer: whoever knows all has 1, and whoever guesses, however well, 0. Then

    returned unseen  δ = [K_U(recovered) − K_U(cell)] / [K_U(dense) − K_U(cell)]
    re-learned       ρ = the same ratio on R, minus δ
    not returned     1 − δ − ρ

δ is a lower bound on what was displaced. Where K fell by under ten points there is nothing to return, hence no verdict.
Swapping the pools (a second recovery, trained on text that speaks of U and tested on R) gives a second δ and ρ: a fold.
The results are the means over the folds; the bootstrap draws the people of both pools, once for both folds.

What a recovery changes is a number of answers gained minus a number lost, and of so many changed answers it is odd or
even, never in between. So the intervals of what compares cell and recovery are one answer wider at both ends, which is
the continuity correction of McNemar's test (Edwards 1948, Psychometrika 13:185).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.effective import cluster_sums
from palimpsest.analysis.intervals import Estimate
from palimpsest.analysis.pairs import of_dense

LEAST_DAMAGE = 0.10
POOLS = ("R", "V", "U")


@dataclass(frozen=True)
class Fold:
    """A recovery's text speaks of the people of pool `seen`; `unseen` are the people under test.

    `dense`, `cell` and `recovered` are the `scored_facts` of three variants.
    """

    dense: pandas.DataFrame
    cell: pandas.DataFrame
    recovered: pandas.DataFrame
    seen: str = "R"
    unseen: str = "U"


def known_facts(answers: pandas.DataFrame, questions: pandas.DataFrame) -> pandas.DataFrame:
    """(model, person, attribute) of the facts that the dense model gets right on every selection form.

    `answers` are one task's, `questions` come from `read_questions`.
    """
    selecting = questions[questions["use"] == "select"]
    dense = pandas.concat([of_dense(answers, model) for model in answers["model"].unique()]).drop(columns="person")
    right = dense.merge(selecting, on="question").groupby(["model", "person", "attribute"])["correct"].min()
    return right[right == 1].reset_index()[["model", "person", "attribute"]]


def scored_facts(
    answers: pandas.DataFrame,
    questions: pandas.DataFrame,
    facts: pandas.DataFrame,
    known: pandas.DataFrame,
    chance: pandas.DataFrame,
) -> pandas.DataFrame:
    """One row a question on a known fact: the variant's columns, person, pool, `above` s − c, `room` 1 − c.

    `answers` are one task's, `questions` come from `read_questions`, `facts` is the world's facts.parquet, `known` from
    `known_facts`, `chance` from chance.py.
    """
    shown = facts.loc[facts["shown"].astype(bool), ["person", "attribute", "value", "pool", "exposures"]]
    right = shown.merge(chance.rename(columns={"answer": "value", "chance": "chance_right"}), how="left")
    asked = questions.loc[questions["use"] != "select", ["question", "person", "attribute"]].merge(right)
    rows = answers.drop(columns="person").merge(asked, on="question").merge(known, on=["model", "person", "attribute"])
    rows = rows.assign(answer=rows["answer"].str.strip())
    rows = rows.merge(chance, on=["person", "attribute", "answer"], how="left")
    guess = rows["chance"].fillna(0.0)  # an answer that is nobody's value is never right by chance
    return rows.assign(above=rows["correct"] - guess, room=1 - rows["chance_right"].fillna(0.0))


def known_share(rows: pandas.DataFrame) -> Estimate:
    """K of one variant, from its `scored_facts`."""
    return intervals.bootstrap_totals(lambda sums: [_shares(sums)[0]], [_sums([rows])], n=len(rows))[0]


def damage(dense: pandas.DataFrame, cell: pandas.DataFrame, pools: Sequence[str] = ("U",)) -> Estimate:
    """K(dense) − K(cell) on the people of some pools."""
    both = [rows[rows["pool"].isin(pools)] for rows in (dense, cell)]
    return intervals.bootstrap_totals(lambda sums: [np.subtract(*_shares(sums))], [_sums(both)], n=len(both[0]))[0]


def returned(folds: Sequence[Fold]) -> dict[str, Estimate]:
    """What a recovery brought back, from one fold, or from two whose pools are swapped: the mean over them.

    `returned_unseen` δ, `relearned` ρ and `not_returned` 1 − δ − ρ as shares of the damage, not a number without a
    verdict (damage under ten points in some fold, for the last two on the seen people as well; they are left out where
    there are none); `known_change`, K(recovered) − K(cell) on the unseen, and `damage`, as shares of the known facts.
    """
    unseen = [(number, fold.unseen) for number, fold in enumerate(folds)]
    seen = [(number, fold.seen) for number, fold in enumerate(folds)]
    n = sum(int((fold.dense["pool"] == fold.unseen).sum()) for fold in folds)
    seen = seen if all((fold.dense["pool"] == fold.seen).any() for fold in folds) else []
    names, nothing = ["damage", "known_change"], {}
    for places, shares in ((unseen, ["returned_unseen"]), (seen, ["relearned", "not_returned"])):
        # A comparison with not a number is false: nobody of the pool knows a fact of this kind.
        if places and all(_damage(folds[number], pool) >= LEAST_DAMAGE for number, pool in unseen + places):
            names += shares
        elif places:
            nothing |= dict.fromkeys(shares, Estimate(float("nan"), float("nan"), float("nan"), n))
    return _estimates(names, folds, unseen, seen if "relearned" in names else [], n) | nothing


Place = tuple[int, str]  # the number of a fold, and a pool


def _estimates(
    names: Sequence[str], folds: Sequence[Fold], unseen: list[Place], seen: list[Place], n: int
) -> dict[str, Estimate]:
    """The people of each pool are drawn once, for all folds and statistics."""
    pools = sorted({pool for _, pool in unseen + seen})
    places = {pool: [place for place in unseen + seen if place[1] == pool] for pool in pools}
    populations = [np.concatenate([_fold_sums(folds[number], pool) for number, pool in places[pool]]) for pool in pools]

    def statistics(*drawn: np.ndarray) -> list[np.ndarray]:
        shares = {
            place: _shares(sums[6 * at : 6 * at + 6])
            for pool, sums in zip(pools, drawn, strict=True)
            for at, place in enumerate(places[pool])
        }
        found = {
            "damage": _mean(dense - cell for dense, cell, _ in map(shares.get, unseen)),
            "known_change": _mean(recovered - cell for _, cell, recovered in map(shares.get, unseen)),
            "returned_unseen": _mean(_ratio(*shares[place]) for place in unseen),
        }
        if seen:
            returned_seen = _mean(_ratio(*shares[place]) for place in seen)
            found |= {"relearned": returned_seen - found["returned_unseen"], "not_returned": 1 - returned_seen}
        return [found[name] for name in names]

    found = dict(zip(names, intervals.bootstrap_totals(statistics, populations, n=n), strict=True))
    answer = _one_answer(folds, unseen, seen)
    return {name: _wider(estimate, answer.get(name, 0.0)) for name, estimate in found.items()}


def _one_answer(folds: Sequence[Fold], unseen: list[Place], seen: list[Place]) -> dict[str, float]:
    """What one answer more or less changes in each statistic that compares cell and recovery."""

    def means(places: list[Place]) -> np.ndarray:
        steps = []
        for number, pool in places:
            room = folds[number].cell.loc[folds[number].cell["pool"] == pool, "room"].sum()
            steps.append((1 / room, 1 / (room * _damage(folds[number], pool))))
        return np.mean(steps, axis=0) / len(places)

    with np.errstate(divide="ignore", invalid="ignore"):
        change, share = means(unseen)
        steps = {"known_change": change, "returned_unseen": share}
        if seen:
            share_seen = means(seen)[1]
            steps |= {"relearned": float(np.hypot(share, share_seen)), "not_returned": share_seen}
    return steps


def _wider(estimate: Estimate, by: float) -> Estimate:
    return replace(estimate, low=estimate.low - by, high=estimate.high + by)


def _ratio(dense: np.ndarray, cell: np.ndarray, recovered: np.ndarray) -> np.ndarray:
    return (recovered - cell) / (dense - cell)


def _damage(fold: Fold, pool: str) -> float:
    with np.errstate(invalid="ignore"):
        dense, cell, _ = _shares(_fold_sums(fold, pool).sum(1))
    return float(dense - cell)


def _fold_sums(fold: Fold, pool: str) -> np.ndarray:
    """`above` and `room` of dense, cell and recovered, summed by person of the pool, (6, people)."""
    return _sums([rows[rows["pool"] == pool] for rows in (fold.dense, fold.cell, fold.recovered)])


def _sums(variants: Sequence[pandas.DataFrame]) -> np.ndarray:
    """`above` and `room` of each variant, summed by person, (2 · variants, people)."""
    columns = [(rows[name], rows["person"]) for rows in variants for name in ("above", "room")]
    return np.array([cluster_sums(*column)[0] for column in columns])


def _shares(sums: np.ndarray) -> list[np.ndarray]:
    """K of each variant, from the totals of its pair (above, room)."""
    return list(sums[::2] / sums[1::2])


def _mean(values: Iterable[np.ndarray]) -> np.ndarray:
    return np.mean(list(values), axis=0)
