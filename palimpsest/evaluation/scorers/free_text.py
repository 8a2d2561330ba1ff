"""Texts of which none is the right one: summaries and chat. Nothing is right or wrong; measures say what they hold."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from palimpsest.evaluation.scorers.verdict import Verdict
from palimpsest.evaluation.scorers.words import repetition, words


def chat(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """Measures: `unique_tokens` (distinct words), `repetition` (share of repeated 4-grams), `length` (words)."""
    found = words(text)
    measures = {"unique_tokens": len(set(found)), "repetition": repetition(found), "length": len(found)}
    return Verdict(text.strip(), None, measures={name: float(value) for name, value in measures.items()})


def summary(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """`row` has `answer`, the reference, and `facts`, what it names.

    Measures: `rouge_l` (F-measure, stemmed; Lin 2004), `coverage` (share of the facts that are said; absent where the
    reference names none), `repetition`, `length`.
    """
    found = words(text)
    measures = {
        "rouge_l": _rouge().score(row["answer"], text)["rougeL"].fmeasure,
        "repetition": repetition(found),
        "length": float(len(found)),
    }
    if row["facts"]:
        said = f" {' '.join(found)} "
        measures["coverage"] = sum(f" {' '.join(words(fact))} " in said for fact in row["facts"]) / len(row["facts"])
    return Verdict(text.strip(), None, measures=measures)


@functools.cache
def _rouge():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)
