"""Soft prompts chosen anew for each question: which was chosen, how clearly, and what the best choice would have been.

At each task of a variant that chooses (scoring "measure"):
    choice_share               by prompt, whose name is the subset: share of the questions before which it was put
    choice_margin              mean difference of the scores of the prompt that was chosen and the next best
Of tasks whose facts are asked in selection forms and in others, on the others (subset "scored forms"):
    chosen                     share of right answers of the variant itself
    best_prompt                of the one prompt that is best on the selection forms
    oracle                     with the prompt, for each fact, that is right on most of its own selection forms; where
                               several are, the one of them that is best on all facts' selection forms
    chosen_minus_best_prompt, oracle_minus_best_prompt

An engine cannot know the answer, so the oracle is put together here, from the answers of the variants that each have
one of the prompts. What picks and what is scored are different questions: a prompt that was right by luck is not
lucky again, which keeps the winner's curse out of the oracle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters, read_questions, variant_name
from palimpsest.analysis.pairs import paired, parts
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from palimpsest.grid import Grid

CHOICE, MARGIN = "choice", "margin"  # in the measures of an answer
SCORED = "scored forms"
COLUMNS = [*VARIANT, "task", "subset", "scoring", "metric", "value", "low", "high", "n"]


def choosers(grid: Grid) -> dict[str, list[str]]:
    """The recoveries of a study that choose, with those whose prompts they choose among."""
    return {name: recovery.of for name, recovery in grid.recoveries.items() if recovery.method == "idp"}


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


def oracles(
    answers: pandas.DataFrame, tasks_folder: Path | str, tasks: Sequence[str], of: Mapping[str, Sequence[str]]
) -> pandas.DataFrame:
    """The rows of all recoveries that choose, `of` being the recoveries whose prompts each of them chooses among.

    `tasks` without selection forms are passed over. Raises PalimpsestError where a prompt was not evaluated by itself.
    """
    rows = []
    for task in tasks if of else ():
        questions = read_questions(tasks_folder, task)
        if not (questions["use"] == "select").any() or (questions["attribute"] == "").any():
            continue
        asked = answers[(answers["task"] == task) & answers["correct"].notna()]
        variants = dict(list(asked.groupby(VARIANT, sort=True)))
        for key, own in variants.items():
            if key[-1] not in of:
                continue
            name = dict(zip(VARIANT, key, strict=True)) | {"task": task, "subset": SCORED, "scoring": "measure"}
            single = {}
            for prompt in of[key[-1]]:
                if (found := variants.get((*key[:-1], prompt))) is None:
                    raise PalimpsestError(
                        f"answers: {variant_name(name | {'recovery': prompt})} does not answer {task}."
                    )
                single[prompt] = found
            rows += [name | row for row in _compared(own, oracle(single, questions), best_prompt(single, questions))]
    return pandas.DataFrame(rows, columns=COLUMNS)


def oracle(single: Mapping[str, pandas.DataFrame], questions: pandas.DataFrame) -> pandas.DataFrame:
    """The answers to the scored questions, each by the prompt that its fact's selection forms pick.

    `single` are the answers to one task with each prompt alone, `questions` come from `read_questions`.
    """
    selecting = _right_on_selection(single, questions)
    # The first column of the best: prompts stand in the order of how good they are on all facts.
    order = selecting.mean().sort_values(ascending=False, kind="stable").index
    picked = selecting[order].idxmax(axis=1).rename("picked").reset_index()
    scored = questions[questions["use"] != "select"].merge(picked, on=["person", "attribute"])
    parts = [
        answers[answers["question"].isin(scored.loc[scored["picked"] == prompt, "question"])]
        for prompt, answers in single.items()
    ]
    return pandas.concat(parts).sort_values("question", ignore_index=True)


def best_prompt(single: Mapping[str, pandas.DataFrame], questions: pandas.DataFrame) -> pandas.DataFrame:
    """The answers with the prompt that is right on most selection forms of all facts."""
    return single[_right_on_selection(single, questions).mean().idxmax()]


def _right_on_selection(single: Mapping[str, pandas.DataFrame], questions: pandas.DataFrame) -> pandas.DataFrame:
    """(person, attribute) × prompt: share of the fact's selection forms that are answered right."""
    selecting = questions.loc[questions["use"] == "select", ["question", "person", "attribute"]]
    shares = {
        prompt: answers[["question", "correct"]].merge(selecting).groupby(["person", "attribute"])["correct"].mean()
        for prompt, answers in single.items()
    }
    return pandas.DataFrame(shares)


def _compared(own: pandas.DataFrame, best_choice: pandas.DataFrame, best_single: pandas.DataFrame) -> list[dict]:
    asked = best_choice["question"]
    ways = {"chosen": own, "best_prompt": best_single, "oracle": best_choice}
    ways = {metric: answers[answers["question"].isin(asked)] for metric, answers in ways.items()}
    rows = [
        {"metric": metric} | intervals.share(answers["correct"], clusters(answers)).row()
        for metric, answers in ways.items()
    ]
    for metric in ("chosen", "oracle"):
        pairs = paired(ways["best_prompt"], ways[metric], ["correct"])
        difference = intervals.paired_difference(pairs["correct_b"] - pairs["correct_a"], pairs["cluster"])
        rows.append({"metric": f"{metric}_minus_best_prompt"} | difference.row())
    return rows
