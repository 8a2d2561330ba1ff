"""Does an algorithm lose less than plain SVD at equal rate? Low-rank cells beside the plain one, question by question.

Both are of one model and level, every matrix has that level, and neither has a recovery. Seeds of the algorithm stand
beside the one plain cell, which draws nothing.

minus_svd            of tasks with right and wrong answers: its share of right answers minus plain SVD's
perplexity_over_svd  of tasks that are read token by token: its perplexity divided by plain SVD's
acc_minus_svd        of probes, at each layer: its share of test rows read right minus plain SVD's
uuas_minus_svd       of structural probes: its mean over sentences minus plain SVD's
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.allocated import compared, variant_row
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.siblings import of_plain_svd

if TYPE_CHECKING:
    from palimpsest.grid import Grid

COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]
PROBED = [*COLUMNS[:-5], "scoring", "layer", *COLUMNS[-5:]]
READ = ["subset", "scoring", "layer"]
METRICS = {"acc": intervals.paired_difference, "uuas": intervals.mean}


def answered(answers: pandas.DataFrame, grid: Grid) -> pandas.DataFrame:
    """The rows of metrics on the study's tasks."""
    names = {"difference": "minus_svd", "ratio": "perplexity_over_svd"}
    return pandas.DataFrame(compared(answers, of_plain_svd(grid), names), columns=COLUMNS)


def probed(outcomes: Iterable[pandas.DataFrame], grid: Grid) -> pandas.DataFrame:
    """The rows of metrics on the study's probes, of the cells that were probed; `outcomes`: a table a probe."""
    rows = []
    pairs = of_plain_svd(grid)
    for table in outcomes:
        plain = table[(table["recovery"] == "none") & table["metric"].isin(METRICS)].dropna(subset="value")
        of = dict(list(plain.groupby(VARIANT[:-1], sort=False, observed=True)))
        for cell, other in pairs.items():
            mine, theirs = (of.get(tuple(variant_row(one)[column] for column in VARIANT[:-1])) for one in (cell, other))
            if mine is None or theirs is None:
                continue
            key = [*READ, "task", "metric", "row"]
            both = mine.merge(theirs[[*key, "value"]], on=key, suffixes=("_a", "_b"))
            for (subset, scoring, layer, task, metric), part in both.groupby(key[:-1], sort=True, observed=True):
                change = METRICS[metric](part["value_a"] - part["value_b"], part["cluster"].astype(str))
                name = {"task": task, "subset": subset, "scoring": scoring, "layer": str(layer)}
                rows.append(variant_row(cell) | name | {"metric": f"{metric}_minus_svd"} | change.row())
    return pandas.DataFrame(rows, columns=PROBED)
