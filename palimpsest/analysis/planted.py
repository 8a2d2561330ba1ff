"""Planted truths: the estimator of what returned, on models whose damage is displacement to a known share.

A planted model is compared with its `reference`, the model of the study that knows all. It was forked from it without
half of the people (the erased), and then displaced or locked, so that it says what it knows of nobody. What was erased
cannot return; what was displaced could in full. Mixing erased and displaced people among those that a recovery's text
does not speak of gives damage that is displaced to any share: 0, ¼, ½, ¾, 1 of the people. The truth is then the ratio
that the estimator forms when the displaced people's answers are again those of the model before it was displaced
(`origin`), and the erased people's are as they were.

Replicates are random sets of people, half as many as the smaller side (erased or displaced) has, the same sets for each
recovery. They overlap, and share one training of each model and recovery: what varies is whom one asks about. So their
spread is that of an estimate from half of the people drawn at random, which for sets from one side is as wide as the
sampling error of the estimate from all of that side (Shao & Wu 1989, Ann. Statist. 17:1176), and their coverage is that
of one draw of guesses, right or wrong together in all of them.

So how often the interval holds a truth of nothing is asked in another way too. What was erased no model was ever told,
so any other value would have been as true: the erased people's values are dealt anew from those of their stratum, and
the answers that were given are judged by them. These draws are independent, given the answers, and nothing can return
in them, be the recovery what it may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas
from statsmodels.stats.proportion import proportion_confint

from palimpsest.analysis import knowledge
from palimpsest.analysis.answers import VARIANT
from palimpsest.settings import PLANTED, SWAPPED
from palimpsest.sources.planted_fork import erased_people

if TYPE_CHECKING:
    from palimpsest.grid import Grid

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
REPLICATES = 40
DEALS = 100
SPREAD = (0.025, 0.975)


@dataclass(frozen=True)
class Plant:
    """A planted model; `reference` knows all, `origin` is it before it was displaced: itself if it never was."""

    model: str
    reference: str
    origin: str
    erased: frozenset[str]

    @property
    def is_displaced(self) -> bool:
        return self.origin != self.model


def plants(grid: Grid, results: Path) -> list[Plant]:
    """The planted models of a study whose models lie under `results`/models."""
    models, found = grid.study.models, []
    for name, model in models.items():
        if model.source in PLANTED:
            reference = model.of
            while models[reference].source in PLANTED:
                reference = models[reference].of
            origin = name if model.source == "forked" else model.of
            found.append(Plant(name, reference, origin, frozenset(erased_people(results / "models" / name))))
    return found


def known_of_reference(known: pandas.DataFrame, plants: Sequence[Plant]) -> pandas.DataFrame:
    """`knowledge.known_facts`, with what the reference knows in the place of what a planted model says it knows."""
    others = known[~known["model"].isin([plant.model for plant in plants])]
    theirs = [known[known["model"] == plant.reference].assign(model=plant.model) for plant in plants]
    return pandas.concat([others, *theirs], ignore_index=True)


def table(
    scored: Mapping[str, pandas.DataFrame],
    plants: Sequence[Plant],
    chances: Mapping[str, pandas.DataFrame] | None = None,
    *,
    replicates: int = REPLICATES,
    deals: int = DEALS,
) -> pandas.DataFrame:
    """The metrics of each recovery of a planted model.

    scored: `knowledge.scored_facts` of all variants, by the pool that a recovery's text speaks of. chances: by the same
    pools, from chance.py: how erased people's values are dealt anew; not done without them.

    On all `erased` and all `displaced` people: `planted_delta` with the estimator's own interval, and `planted_truth`.
    On `erased` also `planted_null`: the share of deals after which the interval holds 0, with Wilson's interval.
    At `share=0.5` of displaced people: `planted_truth` and `planted_delta`, means over the replicates with their
    spread, n the people of a replicate; `planted_coverage`, the share of replicates whose interval holds the truth, and
    `planted_power`, of those whose interval lies above 0 (at share 0 the rate of false alarms), n the replicates. Over
    all shares `planted_slope`, of the estimate on the truth by least squares.
    """
    groups = {}
    for seen, rows in scored.items():
        dense = rows[rows["label"] == "dense"]
        groups |= {(seen, *key): part for key, part in dense.groupby(["model", "recovery"], sort=True)}
    rows = []
    for plant in plants:
        for seen, model, recovery in groups:
            if (seen, model) == ("R", plant.model) and recovery != "none" and not recovery.endswith(SWAPPED):
                name = dict(zip(VARIANT, groups[seen, model, recovery].iloc[0][VARIANT], strict=True))
                folds = _folds(plant, recovery, groups)
                found = [*_whole(folds, plant), *_rows(_replicates(folds, plant, replicates))]
                found += [] if chances is None else _null(folds, plant, chances, deals)
                rows += [name | row for row in found]
    return pandas.DataFrame(rows, columns=[*VARIANT, "subset", "metric", "value", "low", "high", "n"])


Groups = Mapping[tuple[str, str, str], pandas.DataFrame]  # (pool of the text, model, recovery) -> `scored_facts`


Folds = Sequence[tuple[knowledge.Fold, knowledge.Fold]]  # (what is estimated, the truth) of one or both pools


def _folds(plant: Plant, recovery: str, groups: Groups) -> Folds:
    """Those of a recovery, and of its twin whose pools are swapped if it has one."""
    found = []
    for name, seen, unseen in ((recovery, "R", "U"), (recovery + SWAPPED, "U", "R")):
        if (seen, plant.model, name) in groups:
            reference, cell, origin = (
                groups[seen, model, "none"] for model in (plant.reference, plant.model, plant.origin)
            )
            known = ~origin["person"].isin(plant.erased)
            undone = pandas.concat([origin[known], cell[cell["person"].isin(plant.erased)]])
            estimated = knowledge.Fold(reference, cell, groups[seen, plant.model, name], seen=seen, unseen=unseen)
            found.append((estimated, replace(estimated, recovered=undone)))
    return found


def _whole(folds: Folds, plant: Plant) -> Iterator[dict]:
    """Estimate and truth on all erased people, and on all displaced ones."""
    sides = [np.concatenate(side) for side in zip(*(_sides(estimated, plant) for estimated, _ in folds), strict=True)]
    for subset, people in zip(("erased", "displaced"), sides, strict=True):
        if len(people) > 1 and (subset == "erased" or plant.is_displaced):
            estimate = knowledge.returned([_among(fold, people) for fold, _ in folds])["returned_unseen"]
            truth = float(np.mean([_ratio(_among(fold, people)) for _, fold in folds]))
            yield {"subset": subset, "metric": "planted_delta"} | estimate.row()
            yield {"subset": subset, "metric": "planted_truth", "n": estimate.n} | _spread(pandas.Series([truth]))


def _null(folds: Folds, plant: Plant, chances: Mapping[str, pandas.DataFrame], deals: int) -> list[dict]:
    """How often the interval on all erased people holds 0 after their values were dealt anew."""
    people = [_sides(estimated, plant)[0] for estimated, _ in folds]
    if sum(map(len, people)) < 2:
        return []
    estimated = [_among(fold, erased) for (fold, _), erased in zip(folds, people, strict=True)]
    # Each fold's people are dealt values by the chances that their answers are judged by.
    own = [chances[fold.seen] for fold in estimated]
    own = [
        chance[chance["person"].isin(erased) & (chance["chance"] > 0)].reset_index(drop=True)
        for chance, erased in zip(own, people, strict=True)
    ]
    holds = []
    for deal in range(deals):
        rng = np.random.default_rng(deal)
        values = [_dealt(chance, rng) for chance in own]
        dealt = [
            replace(fold, cell=_judged(fold.cell, its), recovered=_judged(fold.recovered, its))
            for fold, its in zip(estimated, values, strict=True)
        ]
        estimate = knowledge.returned(dealt)["returned_unseen"]
        holds.append(estimate.low <= 0 <= estimate.high)
    low, high = proportion_confint(sum(holds), len(holds), method="wilson")
    value = float(np.mean(holds))
    return [{"subset": "erased", "metric": "planted_null", "value": value, "low": low, "high": high, "n": len(holds)}]


def _dealt(chance: pandas.DataFrame, rng: np.random.Generator) -> pandas.Series:
    """(person, attribute) -> a value drawn with the probabilities of `chance`, by Gumbel's trick."""
    score = np.log(chance["chance"].to_numpy(dtype=float)) + rng.gumbel(size=len(chance))
    chosen = pandas.Series(score).groupby([chance["person"], chance["attribute"]]).idxmax()
    return chosen.map(chance["answer"])


def _judged(rows: pandas.DataFrame, values: pandas.Series) -> pandas.DataFrame:
    """The same answers, right where they say what was dealt."""
    dealt = values.reindex(pandas.MultiIndex.from_frame(rows[["person", "attribute"]])).to_numpy()
    return rows.assign(above=(rows["answer"].to_numpy() == dealt) - rows["chance"].fillna(0.0))


def _replicates(folds: Folds, plant: Plant, replicates: int) -> pandas.DataFrame:
    """(share, replicate, people, truth, value, low, high) of every replicate."""
    sides = [_sides(estimated, plant) for estimated, _ in folds]
    found: list[tuple] = []
    for share in _shares(plant) if min(map(_size, sides)) > 1 else ():
        for replicate in range(replicates):
            rng = np.random.default_rng(replicate)
            chosen = np.concatenate([_people(side, share, rng) for side in sides])
            estimate = knowledge.returned([_among(fold, chosen) for fold, _ in folds])["returned_unseen"]
            truth = float(np.mean([_ratio(_among(fold, chosen)) for _, fold in folds]))
            found.append((share, replicate, len(chosen), truth, estimate.value, estimate.low, estimate.high))
    return pandas.DataFrame(found, columns=["share", "replicate", "people", "truth", "value", "low", "high"])


Sides = tuple[np.ndarray, np.ndarray]  # erased people, displaced people


def _sides(fold: knowledge.Fold, plant: Plant) -> Sides:
    people = np.sort(fold.dense.loc[fold.dense["pool"] == fold.unseen, "person"].unique())
    is_erased = np.isin(people, sorted(plant.erased))
    return people[is_erased], people[~is_erased]


def _among(fold: knowledge.Fold, people: np.ndarray) -> knowledge.Fold:
    """The fold with these of its unseen people, and nobody else."""
    dense, cell, recovered = (
        rows[(rows["pool"] == fold.unseen) & rows["person"].isin(people)]
        for rows in (fold.dense, fold.cell, fold.recovered)
    )
    return replace(fold, dense=dense, cell=cell, recovered=recovered)


def _shares(plant: Plant) -> tuple[float, ...]:
    """The shares that can be mixed: one alone where nothing was displaced, or nobody erased."""
    if not plant.is_displaced:
        return (0.0,)
    return SHARES if plant.erased else (1.0,)


def _size(sides: Sides) -> int:
    """People of a replicate: half of the smaller side, or up to three fewer so that quarters are whole."""
    half = min((len(side) for side in sides if len(side)), default=0) // 2
    return half // 4 * 4 or half


def _people(sides: Sides, share: float, rng: np.random.Generator) -> np.ndarray:
    """A replicate's people, `share` of them displaced, the others erased."""
    erased, displaced = (rng.permutation(side) for side in sides)
    size = _size(sides)
    count = round(share * size)
    return np.concatenate([displaced[:count], erased[: size - count]])


def _ratio(fold: knowledge.Fold) -> float:
    """The ratio that the estimator forms, without an interval, of a fold that has unseen people only."""
    dense, cell, recovered = (
        rows["above"].sum() / rows["room"].sum() for rows in (fold.dense, fold.cell, fold.recovered)
    )
    return float((recovered - cell) / (dense - cell))


def _rows(found: pandas.DataFrame) -> list[dict]:
    """Rows (subset, metric, value, low, high, n) of one recovery's replicates."""
    rows: list[dict] = []
    for share, part in found.groupby("share", sort=True):
        # Where the damage is under ten points the estimator gives no verdict, which is no power either.
        verdicts = part.dropna(subset=["value"])
        covered = ((verdicts["low"] <= verdicts["truth"]) & (verdicts["truth"] <= verdicts["high"])).mean()
        subset, n = f"share={share:g}", int(part["people"].iloc[0])
        rows += [
            {"subset": subset, "metric": "planted_truth", "n": n} | _spread(part["truth"]),
            {"subset": subset, "metric": "planted_delta", "n": n} | _spread(verdicts["value"]),
            {"subset": subset, "metric": "planted_coverage", "n": len(part)} | _spread(pandas.Series([covered])),
            {"subset": subset, "metric": "planted_power", "n": len(part)}
            | _spread(pandas.Series([(part["low"] > 0).mean()])),
        ]
    if found["share"].nunique() > 1:
        replicates = [part for _, part in found.dropna().groupby("replicate") if len(part) > 2]
        slopes = [np.polyfit(part["truth"], part["value"], 1)[0] for part in replicates]
        rows.append({"subset": "all", "metric": "planted_slope", "n": len(slopes)} | _spread(pandas.Series(slopes)))
    return rows


def _spread(values: pandas.Series) -> dict[str, float]:
    """The mean, and the middle 95 % of the replicates; none of a single number."""
    low, high = values.quantile(SPREAD) if len(values) > 1 else (float("nan"), float("nan"))
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}
