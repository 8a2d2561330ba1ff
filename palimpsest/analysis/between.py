"""Recoveries of one cell against each other, and against the cell alone, question by question.

minus_recovery: at a variant; its share of right answers minus that of another recovery of the same cell, whose name is
the subset ("none" is the cell alone). Facts that no training text says are left out, and what a recovery's text tells
(about_facts.untold).
"""

from __future__ import annotations

import itertools

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import paired

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]


def between_recoveries(answers: pandas.DataFrame) -> pandas.DataFrame:
    """A row a cell that has a recovery, task with right and wrong answers, and pair of its variants."""
    judged = answers[answers["correct"].notna() & (answers["subset"] != "never_shown")]
    rows = []
    for (*cell, task), group in judged.groupby([*VARIANT[:-1], "task"], sort=True):
        of_recovery = dict(sorted(group.groupby("recovery"), key=lambda pair: (pair[0] == "none", pair[0])))
        name = dict(zip(VARIANT, cell, strict=False)) | {"task": task, "metric": "minus_recovery"}
        for first, second in itertools.combinations(of_recovery, 2):
            pairs = paired(of_recovery[second], of_recovery[first], ["correct"])
            change = intervals.paired_difference(pairs["correct_b"] - pairs["correct_a"], pairs["cluster"])
            rows.append(name | {"recovery": first, "subset": second} | change.row())
    return pandas.DataFrame(rows, columns=COLUMNS)
