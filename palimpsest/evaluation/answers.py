"""From lm-eval's samples to `answers.parquet`: one row a question."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from palimpsest.evaluation.scorers.verdict import Scorer

IDENTITY = ("model", "label", "method", "level", "seed", "recovery")
GROUPS = ("person", "passage", "subject")
JUDGED = ("published", "measures")  # the published scorer's verdict, and further numbers of the answer, as JSON
COLUMNS = (
    "task", "subset", "question", "form", "gold", "answer", "correct", "score", "tokens", *GROUPS, "bits", *JUDGED,
)  # fmt: skip
MISSING = math.nan


def rows(name: str, task, samples: list[dict[str, Any]], scorer: Scorer | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one task from its lm-eval object (whose requests know their tokens) and the samples it logged."""
    requests = defaultdict(list)
    for request in task.instances:
        requests[request.doc_id].append(request)
    # lm-eval samples a question once a filter: the first one's verdict counts, those of the others are measures.
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    others: dict[int, dict[str, float]] = defaultdict(dict)
    for sample in samples:
        if sample["filter"] != samples[0]["filter"]:
            others[sample["doc_id"]][sample["filter"]] = float(sample["exact_match"])
    for sample in first:
        doc = sample["doc"]
        # Questions that need no other grouping are grouped by the attribute they ask for.
        groups = {group: doc.get(group, "") for group in GROUPS}
        groups["subject"] = groups["subject"] or doc.get("attribute", "")
        asked = sorted(requests[sample["doc_id"]], key=lambda request: request.idx)
        row = {"task": name, "subset": doc.get("subset", ""), "question": str(doc.get("id", sample["doc_id"]))}
        row |= {"form": doc.get("form", "")} | OUTCOMES[task.OUTPUT_TYPE](sample, asked) | groups
        row["published"], measures = None, others[sample["doc_id"]]
        if scorer is not None:
            verdict = scorer(doc, asked[0].args[0], sample["resps"][0][0])
            row |= {"answer": verdict.answer, "correct": verdict.correct, "published": verdict.published}
            measures = measures | verdict.measures
        row["measures"] = json.dumps(measures, sort_keys=True)
        yield {column: row[column] for column in COLUMNS}


def _generated(sample: dict, asked: list) -> dict[str, Any]:
    return _outcome(sample["target"], sample["filtered_resps"][0], bool(sample["exact_match"]))


def _chosen(sample: dict, asked: list) -> dict[str, Any]:
    options = [request.args[1].strip() for request in asked]
    scores = np.array([score for score, _ in sample["filtered_resps"]])
    target = sample["target"]
    gold = target if isinstance(target, int) else options.index(target.strip())
    # Bits of the gold renormalized over the options: what the answer says of the choice, not of the format.
    log_share = scores[gold] - scores.max() - np.log(np.exp(scores - scores.max()).sum())
    return _outcome(
        options[gold],
        options[int(scores.argmax())],
        bool(sample["acc"]),
        score=float(scores[gold]),
        tokens=asked[gold].scored_tokens,
        bits=float(log_share / np.log(2)),
    )


def _scored(sample: dict, asked: list) -> dict[str, Any]:
    score, greedy = sample["filtered_resps"][0]
    return _outcome(str(sample["target"]).strip(), "", bool(greedy), score=score, tokens=asked[0].scored_tokens)


def _read(sample: dict, asked: list) -> dict[str, Any]:
    return _outcome("", "", None, score=sample["filtered_resps"][0], tokens=asked[0].scored_tokens)


def _outcome(gold: str, answer: str, correct: bool | None, score=MISSING, tokens=0, bits=MISSING) -> dict[str, Any]:
    return {"gold": gold, "answer": answer, "correct": correct, "score": score, "tokens": tokens, "bits": bits}


OUTCOMES = {
    "generate_until": _generated,
    "multiple_choice": _chosen,
    "loglikelihood": _scored,
    "loglikelihood_rolling": _read,
}
