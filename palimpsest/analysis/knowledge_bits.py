"""Knowledge in bits: how much better than a guess a model is at facts whose values, and their number, are known."""

from __future__ import annotations

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT


def gain(bits: pandas.Series, options: pandas.Series) -> pandas.Series:
    """log2 of the number of values minus the cross-entropy in bits, renormalized over the values.

    `bits` is log2 p(gold) among the options. A uniform guess gains nothing, a sure and right answer log2(options), a
    sure and wrong one less than nothing.
    """
    return np.log2(options) + bits


def facts_in_bits(answers: pandas.DataFrame, questions: pandas.DataFrame) -> pandas.DataFrame:
    """One row a fact and variant, (…, subset, person, attribute, gain), averaged over the forms that do not select.

    `answers` are those of a ranked task, `questions` come from `read_questions`.
    """
    asked = questions[(questions["use"] != "select") & (questions["options"] > 0)]
    rows = answers.drop(columns="person").merge(asked, on="question")
    rows["gain"] = gain(rows["bits"], rows["options"])
    return rows.groupby([*VARIANT, "subset", "person", "attribute"], as_index=False, sort=True)["gain"].mean()


def knowledge_in_bits(
    facts: pandas.DataFrame, parameters: float | None = None, size: float | None = None
) -> list[dict]:
    """Rows (metric, value, low, high, n) of one variant: Σ gain over its facts, mean, Σ per parameter and byte."""
    mean = intervals.mean(facts["gain"], facts["person"])
    divisors = {"knowledge_bits_per_fact": len(facts), "knowledge_bits": 1}
    divisors |= {"knowledge_bits_per_parameter": parameters} if parameters else {}
    divisors |= {"knowledge_bits_per_byte": size} if size else {}
    total = {"value": mean.value, "low": mean.low, "high": mean.high}
    return [
        {"metric": metric, "n": len(facts)} | {name: number * len(facts) / divisor for name, number in total.items()}
        for metric, divisor in divisors.items()
    ]
