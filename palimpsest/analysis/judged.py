"""What a local judge says of free texts (scoring "judge"), and beside each of its scores how far it can be believed.

    judge_win_rate      share of answers that it prefers to the dense model's; ties count half
    judge_consistency   share of these pairs in which it prefers the same answer in both orders
    judge_grade         its mean grade, 1 to 10
    judge_truncated     share of answers that it could not read whole: question and answers exceed its context
    judge_kappa         Cohen's κ of its preferences with GPT-4's, which were published with the task
    judge_grade_kappa   κ of its grades, rounded, with GPT-4's; squared distance as weight

κ is a property of the judge and the task: the same at every variant, with the number of stored judgements as n. Where
none are stored it is missing, with n = 0. About 0 means that the scores beside it say nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import parts

MEASURES = {
    "outcome": "judge_win_rate",
    "agree": "judge_consistency",
    "grade": "judge_grade",
    "truncated": "judge_truncated",
}
KAPPA, GRADE_KAPPA = "judge_kappa", "judge_grade_kappa"
RESAMPLES = intervals.RESAMPLES


def scores(judgements: Iterable[Path], agreement: Path) -> pandas.DataFrame:
    """The rows of all variants' judgements.parquet; `agreement` is the table of evaluation/reviews.py."""
    table = pandas.concat([pandas.read_parquet(path) for path in judgements], ignore_index=True)
    again = pandas.read_parquet(agreement)
    trust = {task: list(_trust(again[again["task"] == task])) for task in table["task"].unique()}
    rows = []
    for key, group in table.groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True)) | {"scoring": "judge"}
        rows += [name | {"subset": "all"} | row for row in trust[name["task"]]]
        for subset, part in parts(group):
            for column, metric in MEASURES.items():
                found = part[part[column].notna()]
                if len(found):
                    clusters = found["passage"].where(found["passage"] != "", found["question"])
                    rows.append(
                        name | {"subset": subset, "metric": metric} | intervals.mean(found[column], clusters).row()
                    )
    return pandas.DataFrame(rows)


def _trust(again: pandas.DataFrame) -> Iterable[dict]:
    pairs = again[again["stored_outcome"].notna()]
    yield {"metric": KAPPA} | kappa(2 * pairs["stored_outcome"], 2 * pairs["outcome"], pairs["pair"], 3).row()
    graded = [again[column].round() for column in ("stored_grade", "grade")]
    yield {"metric": GRADE_KAPPA} | kappa(*graded, again["pair"], 11, weights="quadratic").row()


def kappa(
    stored: pandas.Series, ours: pandas.Series, pairs: pandas.Series, labels: int, weights: str | None = None
) -> intervals.Estimate:
    """Cohen's κ of two judges' whole numbers under `labels`, with its bootstrap interval over questions.

    `pairs` are named file/question: one question's answers are judged once a file.
    """
    from sklearn.metrics import cohen_kappa_score

    missing = float("nan")
    if not len(stored):
        return intervals.Estimate(missing, missing, missing, 0)
    a, b = stored.to_numpy(dtype=int), ours.to_numpy(dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both judges always say the same: κ is not defined
        value = float(cohen_kappa_score(a, b, labels=range(labels), weights=weights))
    questions = pandas.factorize(pairs.str.rpartition("/")[2])[0]
    counts = np.zeros((questions.max() + 1, labels, labels))
    np.add.at(counts, (questions, a, b), 1)
    drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    low, high = np.nanpercentile(kappas(np.tensordot(drawn, counts, 1), weights), [2.5, 97.5])
    return intervals.Estimate(value, float(low), float(high), len(a))


def kappas(counts: np.ndarray, weights: str | None = None) -> np.ndarray:
    """κ of each table of counts (tables, labels, labels), as scikit-learn has it; thousands at once."""
    labels = np.arange(counts.shape[-1])
    distance = np.abs(labels[:, None] - labels).astype(float)
    cost = distance**2 if weights == "quadratic" else np.sign(distance)
    expected = counts.sum(2, keepdims=True) * counts.sum(1, keepdims=True) / counts.sum((1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):
        return 1 - (cost * counts).sum((1, 2)) / (cost * expected).sum((1, 2))
