"""Soft prompts chosen anew for each question: which was chosen, how clearly, and what the best choice would have been.

At each variant of a recovery that chooses:
    choosing                   no task; the subset says which of the recovery's options are not the default
At each task of one (scoring "measure"):
    choice_share               by prompt, whose name is the subset: share of the questions before which it was put
    choice_margin              mean difference of the scores of the prompt that was chosen and the next best
Of tasks that ask for facts, on forms by which nothing is selected (subset "scored forms", without facts never shown):
    chosen                     share of right answers of the variant itself
    best_prompt                of the one prompt that is best on the selection forms
    oracle                     with the prompt, for each fact, that is right on most of its own selection forms; where
                               several are, the one of them that is best on all facts' selection forms
    oracle_minus_best_prompt
What choosing gains over the best prompt is `idp_gain` (idp_gain.py).

An engine cannot know the answer, so the oracle is put together here, from the answers of the variants that each have
one of the prompts. What picks and what is scored are different questions: a prompt that was right by luck is not
lucky again, which keeps the winner's curse out of the oracle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas

from palimpsest.analysis import about_facts, intervals
from palimpsest.analysis.answers import VARIANT, clusters, variant_name
from palimpsest.analysis.pairs import paired, parts
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import registry

if TYPE_CHECKING:
    from palimpsest.grid import Grid

CHOICE, MARGIN = "choice", "margin"  # in the measures of an answer
SCORED = "scored forms"
DEFAULT = "default"  # a choice by the options that the registry gives
COLUMNS = [*VARIANT, "task", "subset", "scoring", "metric", "value", "low", "high", "n"]


def choosers(grid: Grid) -> dict[str, list[str]]:
    """The recoveries of a study that choose, with those whose prompts they choose among."""
    return {name: recovery.of for name, recovery in grid.recoveries.items() if recovery.method == "idp"}


def rules(grid: Grid) -> pandas.DataFrame:
    """`choosing` of each variant: `default`, or e.g. `choose: random, layer: 2`."""
    usual, nothing, rows = registry.declared()["idp"].options, float("nan"), []
    for variant in grid.variants():
        if variant.recovery in choosers(grid):
            given = grid.recoveries[variant.recovery].options
            other = ", ".join(f"{name}: {value}" for name, value in given.items() if value != usual[name])
            row = {"task": "", "subset": other or DEFAULT, "scoring": "", "metric": "choosing", "value": nothing}
            rows.append(variant.row | row | {"low": nothing, "high": nothing, "n": 1})
    return pandas.DataFrame(rows, columns=COLUMNS)


def choices(answers: pandas.DataFrame) -> pandas.DataFrame:
    """`choice_share` and `choice_margin` of each variant that chooses, and task."""
    made = answers[answers["measures"].str.contains(f'"{CHOICE}"', regex=False)]
    rows = []
    for key, group in made.groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True)) | {"scoring": "measure"}
        said = pandas.DataFrame(list(group["measures"].map(json.loads)), index=group.index)
        for prompt in sorted(said[CHOICE].unique()):
            share = intervals.share((said[CHOICE] == prompt).astype(float), clusters(group))
            rows.append(name | {"subset": prompt, "metric": "choice_share"} | share.row())
        for subset, part in parts(group) if MARGIN in said else ():
            margins = said.loc[part.index, MARGIN].astype(float)
            mean = intervals.mean(margins, clusters(part))
            rows.append(name | {"subset": subset, "metric": "choice_margin"} | mean.row())
    return pandas.DataFrame(rows, columns=COLUMNS)


def oracles(asked: about_facts.Asked, of: Mapping[str, Sequence[str]]) -> pandas.DataFrame:
    """The rows of all recoveries that choose, `of` being the recoveries whose prompts each of them chooses among.

    asked: from `about_facts.asked`. One task selects, for all alike; without one there are no rows. Raises
    PalimpsestError where a prompt was not evaluated by itself.
    """
    selecting = about_facts.selecting(asked)
    if selecting is None or not of:
        return pandas.DataFrame(columns=COLUMNS)
    variants = {}
    for answers, _ in asked.values():
        judged = answers[answers["correct"].notna() & (answers["subset"] != "never_shown")]
        variants |= dict(list(judged.groupby([*VARIANT, "task"], sort=True)))
    rows = []
    for key in sorted({key[:-1] for key in variants if key[-2] in of}):

        def single(task: str, key=key) -> dict[str, pandas.DataFrame]:
            return {prompt: _answers(variants, (*key[:-1], prompt, task)) for prompt in of[key[-1]]}

        shares = selection_shares(single(selecting), asked[selecting][1])
        for task, (_, questions) in asked.items():
            name = dict(zip(VARIANT, key, strict=True)) | {"task": task, "subset": SCORED, "scoring": "measure"}
            ways = {
                "chosen": _answers(variants, (*key, task)),
                "best_prompt": single(task)[shares.mean().idxmax()],
                "oracle": oracle(single(task), questions, shares),
            }
            rows += [name | row for row in _compared(ways)] if len(ways["oracle"]) else []
    return pandas.DataFrame(rows, columns=COLUMNS)


def selection_shares(single: Mapping[str, pandas.DataFrame], questions: pandas.DataFrame) -> pandas.DataFrame:
    """(person, attribute) × prompt: share of the fact's selection forms that are answered right.

    `single` are the answers to one task with each prompt alone, `questions` come from `read_questions`.
    """
    selecting = questions.loc[questions["use"] == "select", ["question", "person", "attribute"]]
    shares = {
        prompt: answers[["question", "correct"]].merge(selecting).groupby(["person", "attribute"])["correct"].mean()
        for prompt, answers in single.items()
    }
    return pandas.DataFrame(shares)


def oracle(
    single: Mapping[str, pandas.DataFrame], questions: pandas.DataFrame, shares: pandas.DataFrame
) -> pandas.DataFrame:
    """The answers to a task's other questions, each with the prompt that is best of its fact by `selection_shares`."""
    # The first column of the best: prompts stand in the order of how good they are on all facts.
    order = shares.mean().sort_values(ascending=False, kind="stable").index
    picked = shares[order].idxmax(axis=1).rename("picked").reset_index()
    scored = questions[questions["use"] != "select"].merge(picked, on=["person", "attribute"])
    found = [
        answers[answers["question"].isin(scored.loc[scored["picked"] == prompt, "question"])]
        for prompt, answers in single.items()
    ]
    return pandas.concat(found).sort_values("question", ignore_index=True)


def _answers(variants: Mapping[tuple, pandas.DataFrame], key: tuple) -> pandas.DataFrame:
    if key not in variants:
        name = variant_name(dict(zip(VARIANT, key, strict=False)))
        raise PalimpsestError(f"answers: {name} does not answer {key[-1]}. Run the study again.")
    return variants[key]


def _compared(ways: Mapping[str, pandas.DataFrame]) -> list[dict]:
    """Rows on the questions that the oracle answers."""
    asked = ways["oracle"]["question"]
    ways = {metric: answers[answers["question"].isin(asked)] for metric, answers in ways.items()}
    rows = [
        {"metric": metric} | intervals.share(answers["correct"], clusters(answers)).row()
        for metric, answers in ways.items()
    ]
    pairs = paired(ways["best_prompt"], ways["oracle"], ["correct"])
    difference = intervals.paired_difference(pairs["correct_b"] - pairs["correct_a"], pairs["cluster"])
    return [*rows, {"metric": "oracle_minus_best_prompt"} | difference.row()]
