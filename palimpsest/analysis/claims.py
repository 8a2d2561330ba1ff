"""Claims of the papers as tests with one metric fixed beforehand: supported, contradicted, or undecided.

A claim is an entry of reports/claims.yaml: what a paper says in our words, and a test with its settings. A test
returns an effect with its interval and the threshold it must pass; the verdict follows from these alone. What a study
does not have (a task, a method, a level) leaves the claim undecided and says what is missing.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import yaml

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters, variant_name
from palimpsest.analysis.arms import TEXT
from palimpsest.analysis.pairs import of_dense
from palimpsest.provenance import PalimpsestError

KEYS = {"id", "paper", "statement", "metric", "test", "settings"}


class NotHere(Exception):
    """This study has not what the claim speaks of."""


@dataclass(frozen=True)
class Finding:
    """An effect that must be above `threshold`, from `groups` people or passages, and what it was found on."""

    effect: intervals.Estimate
    threshold: float
    groups: int
    where: str
    unit: str = "people"
    holds: bool | None = True  # False: a side condition is refuted; None: it is open

    @property
    def verdict(self) -> str:
        if self.holds is False or self.effect.high < self.threshold:
            return "contradicted"
        return "supported" if self.holds and self.effect.low > self.threshold else "undecided"

    @property
    def would_decide(self) -> str:
        """The interval's half width shrinks with the root of the number of groups."""
        if self.verdict != "undecided":
            return ""
        distance = abs(self.effect.value - self.threshold)
        width = (self.effect.high - self.effect.low) / 2
        if self.holds is None and self.effect.low > self.threshold:
            return "a perplexity text long enough for its interval to fall on one side of the tolerance"
        if not distance > 0 or not math.isfinite(width):
            return f"more {self.unit} than this study can tell; the effect lies on its threshold"
        groups = math.ceil(self.groups * max(1.0, width / distance) ** 2)
        return f"about {groups} {self.unit}, if the effect stays as it is"


def read_claims(path: Path | str) -> list[dict]:
    claims = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    for claim in claims:
        name = claim.get("id", "?")
        if set(claim) != KEYS:
            wrong = ", ".join(sorted(set(claim) ^ KEYS))
            raise PalimpsestError(f"{path}: claim {name}: a claim has the keys {', '.join(sorted(KEYS))}; see {wrong}.")
        if claim["test"] not in TESTS:
            raise PalimpsestError(f"{path}: claim {name}: test {claim['test']!r} is not one of {', '.join(TESTS)}.")
    return claims


def judge(claims: list[dict], metrics: pandas.DataFrame, answers: pandas.DataFrame) -> list[dict]:
    """Each claim with verdict, effect, low, high, threshold, where it was tested, and what would decide it."""
    judged = []
    for claim in claims:
        try:
            found = TESTS[claim["test"]](metrics, answers, **claim["settings"])
        except NotHere as missing:
            nothing = {"effect": None, "low": None, "high": None, "n": 0, "threshold": None, "where": ""}
            verdict = {"verdict": "undecided", "would_decide": f"a study with {missing}"} | nothing
        else:
            effect = {"effect": found.effect.value, "low": found.effect.low, "high": found.effect.high}
            effect = {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in effect.items()}
            verdict = effect | {"n": found.effect.n, "threshold": found.threshold, "where": found.where}
            verdict |= {"verdict": found.verdict, "would_decide": found.would_decide}
        judged.append({key: claim[key] for key in ("id", "paper", "statement", "metric", "test")} | verdict)
    return judged


def separation(
    metrics: pandas.DataFrame, answers: pandas.DataFrame, *, task: str, text: list[str], tolerance: float, loss: float
) -> Finding:
    """Some cell loses `loss` of the answers while its perplexity on one of the texts stays within `tolerance`.

    The cell and text are chosen on half_a of the people (largest loss among the cells within tolerance); the effect
    is the loss on half_b, and the interval of the relative perplexity must lie within the tolerance too.
    """
    plain = metrics[metrics["recovery"] == "none"]
    losses = plain[(plain["task"] == task) & (plain["metric"] == "difference")]
    ratios = plain[(plain["metric"] == "relative_perplexity") & plain["subset"].isin(text)]
    if losses.empty or ratios.empty:
        raise NotHere(f"the task {task} and perplexity on {' or '.join(text)}")
    kept = ratios[ratios["value"] <= 1 + tolerance].merge(
        losses[losses["subset"] == "half_a"], on=VARIANT, suffixes=("_ratio", "_loss")
    )
    if kept.empty:
        nearest = ratios.loc[ratios["value"].idxmin()]
        effect = intervals.Estimate(0.0, 0.0, 0.0, int(nearest["n"]))
        return Finding(effect, loss, 0, f"no cell within {tolerance:.0%}; nearest {variant_name(nearest)}", holds=False)
    chosen = kept.sort_values(["value_loss", "value_ratio", *VARIANT]).iloc[0]
    same = (losses[VARIANT] == chosen[VARIANT]).all(axis=1)
    confirmed = losses[same & (losses["subset"] == "half_b")].iloc[0]
    people = answers.loc[answers["task"] == task, "person"].nunique() // 2
    effect = intervals.Estimate(-confirmed["value"], -confirmed["high"], -confirmed["low"], int(confirmed["n"]))
    ratio = f"relative perplexity on {chosen['subset_ratio']} {chosen['value_ratio']:.3f}"
    ratio += f" [{chosen['low_ratio']:.3f}, {chosen['high_ratio']:.3f}]"
    within = True if chosen["high_ratio"] <= 1 + tolerance else None
    return Finding(effect, loss, people, f"{variant_name(chosen)}, {ratio}", holds=within)


def keeps_more(
    metrics: pandas.DataFrame, answers: pandas.DataFrame, *, task: str, pairs: list[list[str]], threshold: float = 0.0
) -> Finding:
    """On average over `pairs` of label/level, the first answers more questions right than the second (paired)."""
    changes, named = [], []
    for more, less in pairs:
        for model, right in _right(answers, task).items():
            if more in right and less in right:
                changes.append(right[more] - right[less])
                named.append(f"{model}: {more} over {less}")
    if not changes:
        raise NotHere(f"the task {task} and one of {', '.join(' and '.join(pair) for pair in pairs)}")
    change = sum(changes) / len(changes)
    groups = _groups(answers, task).loc[change.index]
    return Finding(intervals.mean(change, groups), threshold, groups.nunique(), "; ".join(named), _unit(answers, task))


def loses_more(
    metrics: pandas.DataFrame,
    answers: pandas.DataFrame,
    *,
    task: str,
    than: str,
    subset: str | None = None,
    threshold: float = 0.0,
) -> Finding:
    """On average over all compressed cells, more of `task` is lost than of task `than` (of its `subset`)."""
    sums, groups, cells = [], 0, 0
    for name, part in ((task, None), (than, subset)):
        asked = answers if part is None else answers[answers["subset"] == part]
        found = [_loss(right) for right in _right(asked, name).values() if len(right) > 1]
        if not found:
            raise NotHere(f"compressed cells and the tasks {task} and {than}")
        loss = sum(found) / len(found)
        clustered = _groups(asked, name).loc[loss.index]
        sums.append(intervals.cluster_sums(loss, clustered))
        groups = groups or clustered.nunique()
        cells = sum(len(right) - 1 for right in _right(asked, name).values())
    effect = intervals.bootstrap(
        lambda a, na, b, nb: a.sum(-1) / na.sum(-1) - b.sum(-1) / nb.sum(-1),
        sums,
        n=int(sums[0][1].sum() + sums[1][1].sum()),
    )
    where = (
        f"the mean over {cells} cells of the loss on {task} minus the loss on {than}{'/' + subset if subset else ''}"
    )
    return Finding(effect, threshold, groups, where)


def returns(
    metrics: pandas.DataFrame, answers: pandas.DataFrame, *, task: str, recovery: str, threshold: float = 0.0
) -> Finding:
    """The recovery returns facts of which its text says nothing, on the cell with the largest damage."""
    chosen = metrics[(metrics["task"] == task) & (metrics["subset"] == "all") & metrics["value"].notna()]
    arm = metrics[metrics["metric"] == "arm"].set_index("recovery")["subset"].to_dict()
    counts = chosen["recovery"].map(lambda r: fnmatch.fnmatch(r, recovery) and arm.get(r, TEXT) == TEXT)
    returned = chosen[(chosen["metric"] == "returned_unseen") & counts]
    if returned.empty:
        raise NotHere(f"a recovery {recovery} on a cell that lost at least ten points of the known facts")
    damaged = chosen[chosen["metric"] == "damage"].drop(columns="recovery")
    both = returned.merge(damaged, on=[column for column in VARIANT if column != "recovery"], suffixes=("", "_damage"))
    row = both.sort_values(["value_damage", *VARIANT], ascending=[False] + [True] * len(VARIANT)).iloc[0]
    effect = intervals.Estimate(row["value"], row["low"], row["high"], int(row["n"]))
    people = answers.loc[answers["task"] == task, "person"].nunique()  # of the study: pools grow with it
    where = f"{variant_name(row)}, damage {row['value_damage']:.2f}; {len(both)} cells had a verdict"
    return Finding(effect, threshold, people, where)


TESTS: Mapping[str, Callable[..., Finding]] = {
    "separation": separation,
    "keeps_more": keeps_more,
    "loses_more": loses_more,
    "returns": returns,
}


def _right(answers: pandas.DataFrame, task: str) -> dict[str, dict[str, pandas.Series]]:
    """model -> label/level -> right or not by question, the mean over seeds; without recovery."""
    asked = answers[(answers["task"] == task) & (answers["recovery"] == "none") & answers["correct"].notna()]
    found: dict[str, dict[str, pandas.Series]] = {}
    for (model, label, level), rows in asked.groupby(["model", "label", "level"], sort=True):
        found.setdefault(model, {})[f"{label}/{level}"] = rows.groupby("question", sort=True)["correct"].mean()
    return found


def _loss(right: Mapping[str, pandas.Series]) -> pandas.Series:
    """Dense minus the mean over the compressed cells, by question."""
    cells = [series for name, series in right.items() if name != "dense/full"]
    return right["dense/full"] - sum(cells) / len(cells)


def _groups(answers: pandas.DataFrame, task: str) -> pandas.Series:
    """question -> the person or passage it is about."""
    asked = of_dense(answers, answers["model"].iloc[0])
    asked = asked[asked["task"] == task]
    return pandas.Series(np.asarray(clusters(asked)), index=asked["question"])


def _unit(answers: pandas.DataFrame, task: str) -> str:
    return "people" if (answers.loc[answers["task"] == task, "person"] != "").all() else "passages or questions"
