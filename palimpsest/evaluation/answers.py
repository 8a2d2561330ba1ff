"""From lm-eval's samples to `answers.parquet`: one row a question."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas

    from palimpsest.evaluation.scorers.verdict import Scorer

IDENTITY = ("model", "label", "method", "level", "seed", "recovery")
GROUPS = ("person", "passage", "subject")
JUDGED = ("published", "measures")  # the published scorer's verdict, and further numbers of the answer, as JSON
COLUMNS = (
    "task", "subset", "question", "form", "gold", "answer", "correct", "score", "tokens", *GROUPS, "bits", *JUDGED,
)  # fmt: skip
MISSING = math.nan


def rows(
    name: str, task, samples: list[dict[str, Any]], scorer: Scorer | None = None, ours: bool = True
) -> Iterator[dict[str, Any]]:
    """The rows of one task from its lm-eval object (whose requests know their tokens) and the samples it logged.

    `ours`: whether its fields `id`, `subset`, `form`, … mean what they mean here. In lm-eval's registry they may not:
    such a question is known by its number.
    """
    # Where some questions are drawn, lm-eval counts requests among those and samples among all.
    numbers = sorted({sample["doc_id"] for sample in samples})
    requests = defaultdict(list)
    for request in task.instances:
        requests[numbers[request.doc_id]].append(request)
    # lm-eval samples a question once a filter: the first one's verdict counts, those of the others are measures.
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    others: dict[int, dict[str, float]] = defaultdict(dict)
    for sample in samples:
        if sample["filter"] != samples[0]["filter"]:
            others[sample["doc_id"]][sample["filter"]] = next(iter(_numbers(sample).values()))
    for sample in first:
        doc = sample["doc"] if ours else {}
        # Questions that need no other grouping are grouped by the attribute they ask for.
        groups = {group: doc.get(group, "") for group in GROUPS}
        groups["subject"] = groups["subject"] or doc.get("attribute", "")
        asked = sorted(requests[sample["doc_id"]], key=lambda request: request.idx)
        row = {"task": name, "subset": doc.get("subset", ""), "question": str(doc.get("id", sample["doc_id"]))}
        outcome, measures = OUTCOMES[task.OUTPUT_TYPE](task, sample, asked)
        row |= {"form": doc.get("form", "")} | outcome | groups
        row["published"], measures = None, measures | others[sample["doc_id"]]
        for request in asked:  # what our language model found besides the answer
            measures |= getattr(request, "measures", {})
        if scorer is not None:
            verdict = scorer(doc, asked[0].args[0], sample["resps"][0][0])
            row |= {"answer": verdict.answer, "correct": verdict.correct, "published": verdict.published}
            measures = measures | verdict.measures
        row["measures"] = json.dumps(measures, sort_keys=True)
        yield {column: row[column] for column in COLUMNS}


def table(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    """The rows with their types: `correct` is a boolean that can be missing."""
    import pandas

    frame = pandas.DataFrame(rows, columns=list(COLUMNS))
    types = {"correct": "boolean", "published": "boolean", "score": "float64", "tokens": "int64", "bits": "float64"}
    return frame.astype({column: types.get(column, "str") for column in frame.columns})


Outcome = tuple[dict[str, Any], dict[str, float]]  # columns of the row, and measures


def _generated(task, sample: dict, asked: list) -> Outcome:
    correct, measures = _verdict(sample, "exact_match")
    return _outcome(str(sample["target"]), str(sample["filtered_resps"][0]), correct), measures


def _chosen(task, sample: dict, asked: list) -> Outcome:
    doc = sample["doc"]
    options = [option.strip() for option in task.doc_to_choice(doc)]
    scores = np.array([score for score, _ in sample["filtered_resps"]][: len(options)])
    # Where contexts are ranked by one continuation, the number of the right one stands for the question.
    gold = task.doc_to_text(doc) if task.multiple_input else sample["target"]
    gold = gold[0] if isinstance(gold, list) else gold
    gold = gold if isinstance(gold, int) else options.index(gold.strip())
    # Bits of the gold renormalized over the options: what the answer says of the choice, not of the format.
    shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    correct, measures = _verdict(sample, "acc")
    if true := doc.get("true_options"):
        # Several options are true: none of them alone is right.
        correct = None
        measures["mc2"] = float(sum(share for option, share in zip(options, shares, strict=True) if option in true))
    outcome = _outcome(
        options[gold],
        options[int(scores.argmax())],
        correct,
        score=float(scores[gold]),
        tokens=asked[gold].scored_tokens,
        bits=float((scores[gold] - scores.max() - np.log(np.exp(scores - scores.max()).sum())) / np.log(2)),
    )
    return outcome, measures


def _scored(task, sample: dict, asked: list) -> Outcome:
    score, greedy = sample["filtered_resps"][0]
    target = str(sample["target"]).strip()
    return _outcome(target, "", bool(greedy), score=score, tokens=asked[0].scored_tokens), {}


def _read(task, sample: dict, asked: list) -> Outcome:
    return _outcome("", "", None, score=sample["filtered_resps"][0], tokens=asked[0].scored_tokens), {}


def _verdict(sample: dict, metric: str) -> tuple[bool | None, dict[str, float]]:
    """Whether the answer is right by lm-eval's metric, and lm-eval's other numbers of it, as measures."""
    numbers = _numbers(sample)
    if numbers.get(metric) in (0, 1):
        return bool(numbers.pop(metric)), numbers
    return None, numbers


def _numbers(sample: dict) -> dict[str, float]:
    found = {metric: sample[metric] for metric in sample["metrics"]}
    return {metric: float(value) for metric, value in found.items() if isinstance(value, int | float | np.number)}


def _outcome(gold: str, answer: str, correct: bool | None, score=MISSING, tokens=0, bits=MISSING) -> dict[str, Any]:
    return {"gold": gold, "answer": answer, "correct": correct, "score": score, "tokens": tokens, "bits": bits}


OUTCOMES = {
    "generate_until": _generated,
    "multiple_choice": _chosen,
    "loglikelihood": _scored,
    "loglikelihood_rolling": _read,
}
