"""What knows no passage can answer of a task that asks which of two statements follows from one.

    hypothesis only   a logistic regression on the words of a statement alone, that learned from other passages
    overlap           the statement with more words that the passage has too

A task whose baselines are above chance can be answered without reading. Rows have scoring and label "baseline", their
method is the baseline and their model is none. A tie is half an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, read_rows
from palimpsest.analysis.pairs import parts
from palimpsest.halves import HALVES, half

BASELINE = "baseline"  # label and scoring
PREMISE = re.compile(r"^doc_to_text:\s*[\"']?premise\b", re.MULTILINE)  # what its options are then held against
COLUMNS = [*VARIANT, "task", "subset", "scoring", "metric", "value", "low", "high", "n"]


def baselines(tasks_folder: Path | str, tasks: Iterable[str]) -> pandas.DataFrame:
    """Rows `acc` of both baselines, by task and subset, of tasks that show a premise and choose of two statements."""
    table = []
    for task in tasks:
        if not PREMISE.search((Path(tasks_folder) / task / f"{task}.yaml").read_text(encoding="utf-8")):
            continue
        rows = read_rows(tasks_folder, task)
        for method, right in (("hypothesis_only", hypothesis_only(rows)), ("overlap", overlap(rows))):
            name = {"model": "", "label": BASELINE, "method": method, "level": "full", "seed": 0, "recovery": "none"}
            name |= {"task": task, "scoring": BASELINE, "metric": "acc"}
            table += [name | row for row in _shares(rows, right)]
    return pandas.DataFrame(table, columns=COLUMNS)


def overlap(rows: list[Mapping[str, Any]]) -> np.ndarray:
    """1, ½ or 0 of each row: whether the option that shares more words with the premise is the right one."""
    shared = [[len(set(option.split()) & set(row["premise"].split())) for option in row["options"]] for row in rows]
    return _chosen(np.array(shared), rows)


def hypothesis_only(rows: list[Mapping[str, Any]]) -> np.ndarray:
    """1, ½ or 0 of each row: whether the option that looks truer, from its words alone, is the right one.

    It learns from half_a of the passages and is asked about half_b; rows that it learned from are not a number. Cross-
    validation would ask about all, but the folds' mistakes depend on one another: over 40 draws of the entailment task
    its accuracy varied by 4.6 points, where independent answers would by 3.5, and its interval would be too narrow.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    learned = np.array([half(_group(row)) == HALVES[0] for row in rows])
    right = np.where(learned, np.nan, 0.5)
    if not learned.any() or learned.all():
        return right
    taught = [row for row, known in zip(rows, learned, strict=True) if known]
    asked = [row for row, known in zip(rows, learned, strict=True) if not known]
    classifier = make_pipeline(
        CountVectorizer(token_pattern=r"\S+", lowercase=False), LogisticRegression(max_iter=1000)
    )
    classifier.fit(
        *zip(*((option, option == row["answer"]) for row in taught for option in row["options"]), strict=True)
    )
    looks = classifier.decision_function([option for row in asked for option in row["options"]])
    # Statements that differ in words it never saw look alike but for the order of a sum.
    right[~learned] = _chosen(np.round(looks, 9).reshape(-1, 2), asked)
    return right


def _chosen(scores: np.ndarray, rows: list[Mapping[str, Any]]) -> np.ndarray:
    gold = np.array([row["options"].index(row["answer"]) for row in rows])
    own, other = scores[np.arange(len(rows)), gold], scores[np.arange(len(rows)), 1 - gold]
    return np.where(own == other, 0.5, own > other)


def _shares(rows: list[Mapping[str, Any]], right: np.ndarray) -> Iterator[dict]:
    frame = pandas.DataFrame({"subset": [row.get("subset", "") for row in rows], "right": right})
    frame["group"] = [_group(row) for row in rows]
    for subset, part in parts(frame[frame["right"].notna()]):
        yield {"subset": subset} | intervals.share(part["right"], part["group"]).row()


def _group(row: Mapping[str, Any]) -> str:
    return str(row.get("passage") or row["id"])
