"""Does a probe still read what a model no longer says?

Of each variant, the facts that the dense model knows and that the variant says in no form that it is asked (of the task
that selects what is known): by a probe that never saw the person, at the layer that is the subset,

    unsaid_read      share of these facts that the probe reads
    unsaid_chance    what that share would be if each of these facts had the value of another one of its attribute

A value that is read was not erased, whether or not a recovery brings it back.
"""

from __future__ import annotations

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.intervals import Estimate

COLUMNS = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]


def unsaid(
    answers: pandas.DataFrame, questions: pandas.DataFrame, known: pandas.DataFrame, said: pandas.DataFrame
) -> pandas.DataFrame:
    """Rows of metrics.parquet for each variant and layer that leaves a fact unsaid.

    answers, questions: of the task that selects; known: from `knowledge.known_facts`; said: probe_answers.parquet.
    """
    fact = ["person", "attribute"]
    asked = answers.drop(columns="person").merge(questions[["question", *fact]], on="question")
    never = asked.groupby([*VARIANT, *fact])["correct"].max() == 0
    lost = never[never].reset_index()[[*VARIANT, *fact]].merge(known, on=["model", *fact])
    read = lost.merge(said, on=[*VARIANT, *fact])
    rows = []
    for (*key, task, layer), facts in read.groupby([*VARIANT, "task", "layer"], sort=True):
        name = dict(zip(VARIANT, key, strict=True)) | {"task": task, "subset": f"layer {layer}", "layer": str(layer)}
        right = (facts["said"] == facts["value"]).astype(float)
        alone = Estimate(_chance(facts), float("nan"), float("nan"), len(facts))
        found = {"unsaid_read": intervals.share(right, facts["person"]), "unsaid_chance": alone}
        rows += [name | {"metric": metric, "scoring": "measure"} | each.row() for metric, each in found.items()]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _chance(facts: pandas.DataFrame) -> float:
    """Mean share of the other facts of the attribute that have the value which the probe named."""
    # Not of all facts: among few, a fact's own value would make up much of the share.
    shares = []
    for _, part in facts.groupby("attribute"):
        if len(part) > 1:
            named = part["said"].map(part["value"].value_counts()).fillna(0) - (part["said"] == part["value"])
            shares.append(named / (len(part) - 1))
    return float(pandas.concat(shares).mean()) if shares else float("nan")
