"""Dynamic prompts against the best of their prompts alone.

    idp_gain     share of right answers of a variant that chooses among soft prompts, minus that of the best one of them

Which prompt is best is decided on the one half of the people (or passages), and compared on the other, both ways: a
prompt that is best by luck on the questions that it is compared on would make the comparison unfair to the choice.
What the prompts' text tells is no part of it (about_facts.untold).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters
from palimpsest.analysis.pairs import paired, parts
from palimpsest.halves import HALVES, half

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]


def idp_gain(answers: pandas.DataFrame, of: Mapping[str, Sequence[str]]) -> pandas.DataFrame:
    """A row a variant that chooses, task with right and wrong answers, and subset.

    of: each recovery that chooses, with the recoveries whose prompts it chooses among (`choices.choosers`).
    """
    judged = answers[
        answers["correct"].notna() & answers["recovery"].isin({*of, *(p for some in of.values() for p in some)})
    ]
    groups = dict(list(judged.groupby([*VARIANT, "task"], sort=True)))
    rows = []
    for (*cell, recovery, task), own in groups.items():
        if recovery not in of:
            continue
        single = [groups[*cell, prompt, task] for prompt in of[recovery]]
        pairs = paired(best_on_the_other_half(single), own, ["correct"])
        name = dict(zip(VARIANT, (*cell, recovery), strict=True)) | {"task": task, "metric": "idp_gain"}
        for subset, part in parts(pairs):
            gain = intervals.paired_difference(part["correct_b"] - part["correct_a"], part["cluster"])
            rows.append(name | {"subset": subset} | gain.row())
    return pandas.DataFrame(rows, columns=COLUMNS)


def best_on_the_other_half(single: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    """The answers of each half's people by the prompt that answers most questions of the other half right."""
    tables = [answers.assign(half=clusters(answers).map(half)) for answers in single]
    shares = [answers.groupby("half")["correct"].mean() for answers in tables]
    found = []
    for here, there in (HALVES, HALVES[::-1]):
        # Where one half holds nobody, there is nothing to choose by: the first prompt it is.
        best = max(range(len(tables)), key=lambda at: shares[at].get(there, 0.0))
        found.append(tables[best][tables[best]["half"] == here])
    return pandas.concat(found).drop(columns="half")
