"""The attribute-value probe: can the answer be read, linearly, from the hidden state at a question's last token?

People are disjoint between training and test: a probe that has seen a person can remember the value itself, and then
random weights reach 100 %. Each person is tested once, in one of five folds. Beside the probe stand two floors: a
control task (the same values dealt out to the people at random: what a probe of this size can memorize; Hewitt & Liang
2019; selectivity is the difference) and a model of the same shape with random weights.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

FOLDS = 5
TRAINING_PEOPLE = 10  # of each class, at least, in every training set; rarer classes are left out
C, TOLERANCE, ITERATIONS = 0.1, 1e-3, 200
COLUMNS = ("model", "label", "method", "level", "seed", "recovery", "task", "subset", "scoring", "layer", "metric")
COLUMNS += ("value", "low", "high", "n")


@dataclass(frozen=True)
class Read:
    """What a probe of one attribute at one layer said of each question that has enough people of its value."""

    layer: int
    attribute: str
    numbers: np.ndarray  # of the questions
    said: np.ndarray
    right: np.ndarray
    control_right: np.ndarray


def read_variant(hidden: np.ndarray, questions: Sequence[Mapping[str, str]]) -> list[Read]:
    """Probes of every attribute at the middle layer and the last; hidden: (layers + 1, questions, width)."""
    by_attribute: dict[str, list[int]] = defaultdict(list)
    for number, question in enumerate(questions):
        by_attribute[question["attribute"]].append(number)
    last = len(hidden) - 1
    found = []
    for layer in sorted({max(1, last // 2), last}):
        for attribute, numbers in sorted(by_attribute.items()):
            people = np.array([questions[number]["person"] for number in numbers])
            values = np.array([questions[number]["value"] for number in numbers])
            kept = common(values, people)
            people, values = people[kept], values[kept]
            states = hidden[layer][numbers][kept].astype(np.float32)
            control = control_labels(values, people, attribute)
            said = predictions(states, values, people)
            right, control_right = said == values[: len(said)], predicted(states, control, people)
            found.append(Read(layer, attribute, np.array(numbers)[kept][: len(said)], said, right, control_right))
    return found


def metric_rows(task: str, identity: Mapping[str, Any], read: Sequence[Read]) -> Iterator[dict[str, Any]]:
    """Rows of `probes.parquet` for one variant: `acc`, `control_acc` and `selectivity` by attribute and layer."""
    for layer in sorted({each.layer for each in read}):
        outcomes = {each.attribute: (each.right, each.control_right) for each in read if each.layer == layer}
        outcomes["all"] = tuple(np.concatenate([pair[side] for pair in outcomes.values()]) for side in (0, 1))
        for attribute, (right, control_right) in outcomes.items():
            found = {"task": task, "subset": attribute, "scoring": "probe", "layer": layer}
            for metric, numbers in metrics(right, control_right).items():
                yield {column: (dict(identity) | found | {"metric": metric} | numbers)[column] for column in COLUMNS}


def common(labels: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Which rows have a label with enough people in every training set."""
    folds = folds_of(people)
    enough = {label: min(_outside(folds[labels == label])) >= TRAINING_PEOPLE for label in set(labels)}
    return np.array([enough[label] for label in labels], dtype=bool)


def predicted(states: np.ndarray, labels: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Whether a probe that never saw the person names the person's label."""
    said = predictions(states, labels, people)
    return said == labels[: len(said)]


def predictions(states: np.ndarray, labels: np.ndarray, people: np.ndarray) -> np.ndarray:
    """What a probe that never saw the person says of each row; nothing where there are no two labels to tell apart."""
    said = np.empty_like(labels)
    if len(set(labels)) < 2:
        return said[:0]
    folds = folds_of(people)
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        if not test.any():
            continue
        mean, scale = states[train].mean(0), states[train].std(0) + 1e-6
        probe = LogisticRegression(C=C, tol=TOLERANCE, max_iter=ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit((states[train] - mean) / scale, labels[train])
        said[test] = probe.predict((states[test] - mean) / scale)
    return said


def folds_of(people: np.ndarray) -> np.ndarray:
    """A fold for each person, the same whatever else is in the table, and as equal in size as can be."""
    order = sorted(set(people), key=_digest)
    fold = {person: place % FOLDS for place, person in enumerate(order)}
    return np.array([fold[person] for person in people])


def control_labels(labels: np.ndarray, people: np.ndarray, salt: str) -> np.ndarray:
    """The labels dealt out at random, one to a person: the same distribution, and nothing to read but the person."""
    distinct = sorted(set(people), key=_digest)
    of_person = dict(zip(people, labels, strict=True))
    dealt = sorted(distinct, key=lambda person: _digest(f"{salt}/{person}"))
    control = {person: of_person[other] for person, other in zip(distinct, dealt, strict=True)}
    return np.array([control[person] for person in people])


def metrics(right: np.ndarray, control_right: np.ndarray) -> dict[str, dict[str, float | int]]:
    """Accuracies with Wilson's intervals, and their difference with Newcombe's."""
    accuracy, control = wilson(right), wilson(control_right)
    (a, a_low, a_high), (b, b_low, b_high) = accuracy, control
    selectivity = (a - b, a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low))
    found = {"acc": (accuracy, right), "control_acc": (control, control_right), "selectivity": (selectivity, right)}
    return {
        metric: {"value": value, "low": low, "high": high, "n": len(answers)}
        for metric, ((value, low, high), answers) in found.items()
    }


def wilson(right: np.ndarray, z: float = 1.959963984540054) -> tuple[float, float, float]:
    """A share with its 95 % interval; not a number where there is nothing to count."""
    n = len(right)
    if not n:
        return math.nan, math.nan, math.nan
    share = float(right.mean())
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return share, max(0.0, middle - half), min(1.0, middle + half)


def _outside(folds: np.ndarray) -> list[int]:
    """How many are in training when each fold is tested."""
    inside = Counter(folds.tolist())
    return [len(folds) - inside[fold] for fold in range(FOLDS)]


def _digest(text: str) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()
