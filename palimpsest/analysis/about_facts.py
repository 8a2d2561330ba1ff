"""The answers about the facts of the world: which tasks ask for them, and how each answer is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas

from palimpsest.analysis import chance, knowledge
from palimpsest.analysis.answers import read_questions
from palimpsest.analysis.arms import Arm
from palimpsest.analysis.planted import Plant, known_of_reference

Asked = Mapping[str, tuple[pandas.DataFrame, pandas.DataFrame]]  # task -> answers, questions


def asked(
    answers: pandas.DataFrame, scoring: Mapping[str, tuple[str, str]], tasks_folder: Path | str
) -> dict[str, tuple[pandas.DataFrame, pandas.DataFrame]]:
    """Task -> (answers, questions) of the tasks whose every question asks for one fact."""
    found = {}
    for task, (_, metric) in scoring.items():
        rows = answers[answers["task"] == task]
        if not metric.startswith("perplexity") and len(rows) and (rows["person"] != "").all():
            questions = read_questions(tasks_folder, task)
            if (questions["attribute"] != "").all():  # a biography asks for all of a person's facts at once
                found[task] = rows, questions
    return found


def untold(answers: pandas.DataFrame, facts: pandas.DataFrame | None, arms: Mapping[str, Arm]) -> pandas.DataFrame:
    """The answers about whom no recovery's text speaks: people of pool U, and all questions that are about nobody real.

    What a text tells is learned from it, by a recovery with more parameters more of it: recoveries are compared where
    none was told. Twins whose pools are swapped, whose texts speak of these people, are left out.
    """
    if facts is None:
        return answers
    told = facts.loc[facts["pool"] != "U", "person"]
    twins = [name for name, arm in arms.items() if arm.is_swapped]
    return answers[~answers["person"].isin(told) & ~answers["recovery"].isin(twins)]


def selecting(asked: Asked) -> str | None:
    """The task that selects what is known, for all tasks alike: the first one with forms that select."""
    return next((task for task, (_, questions) in asked.items() if (questions["use"] == "select").any()), None)


def known(asked: Asked, plants: Sequence[Plant] = ()) -> pandas.DataFrame | None:
    """`knowledge.known_facts`; None if no task selects. Planted models are asked for what their reference knows."""
    task = selecting(asked)
    return task and known_of_reference(knowledge.known_facts(*asked[task]), plants)


def scored(
    asked: Asked, facts: pandas.DataFrame, correlated: bool, arms: Mapping[str, Arm], plants: Sequence[Plant] = ()
) -> dict[str, dict[str, pandas.DataFrame]]:
    """Task -> pool that a recovery's text speaks of -> `knowledge.scored_facts`; empty if no task selects."""
    selected = known(asked, plants)
    if selected is None:
        return {}
    pools = sorted({"R"} | {arm.seen for arm in arms.values()})
    if not correlated:
        guess = chance.table(facts, correlated)
        rows = {task: knowledge.scored_facts(*pair, facts, selected, guess) for task, pair in asked.items()}
        return {task: dict.fromkeys(pools, of_task) for task, of_task in rows.items()}
    guesses = {pool: chance.table(facts, correlated, pool) for pool in pools}
    return {
        task: {pool: knowledge.scored_facts(*pair, facts, selected, guess) for pool, guess in guesses.items()}
        for task, pair in asked.items()
    }
