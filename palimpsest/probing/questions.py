"""The attribute-value probe: can the answer be read, linearly, from the hidden state at a question's last token?

People are disjoint between training and test: a probe that has seen a person can remember the value itself, and then
random weights reach 100 %. Each person is tested once, in one of five folds. Beside the probe stand two floors: a
control task (the same values dealt out to the people at random: what a probe of this size can memorize; Hewitt & Liang
2019; selectivity is the difference) and a model of the same shape with random weights.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.probing.outcome import Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.settings import Probe

FOLDS = 5
TRAINING_PEOPLE = 10  # of each class, at least, in every training set; rarer classes are left out
C, TOLERANCE, ITERATIONS = 0.1, 1e-3, 200


def extract(model, tokenizer, rows: Sequence[Mapping[str, Any]], options: Probe) -> dict[str, Tensor]:
    """`last` (layers + 1, rows, width): the states at each question's last token."""
    from palimpsest.probing.states import last_states

    return {"last": last_states(model, tokenizer, [row["question"] for row in rows])}


def outcomes(
    features: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, str]], options: Probe
) -> Iterator[Outcome]:
    """Probes of every attribute, at the middle layer and the last if no layers are named."""
    hidden, by_attribute = features["last"], defaultdict(list)
    for number, row in enumerate(rows):
        by_attribute[row["attribute"]].append(number)
    last = len(hidden) - 1
    for layer in options.layers or sorted({max(1, last // 2), last}):
        for attribute, numbers in sorted(by_attribute.items()):
            people = np.array([rows[number]["person"] for number in numbers])
            values = np.array([rows[number]["value"] for number in numbers])
            kept = common(values, people)
            people, values, numbers = people[kept], values[kept], np.array(numbers)[kept]
            states = hidden[layer][numbers].astype(np.float32)
            said = predictions(states, values, people)
            tested = len(said)  # none where there are no two values to tell apart
            yield Outcome(
                subset=attribute,
                scoring="linear",
                layer=layer,
                metric="acc",
                rows=np.array([rows[number]["id"] for number in numbers[:tested]], dtype=str),
                clusters=people[:tested],
                values=(said == values[:tested]).astype(np.float32),
                controls=predicted(states, control_labels(values, people, attribute), people).astype(np.float32),
                classes=len(set(values)),
                said=said,
            )


def common(labels: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Which rows have a label with enough people in every training set."""
    folds = folds_of(people)
    enough = {label: min(_outside(folds[labels == label])) >= TRAINING_PEOPLE for label in set(labels)}
    return np.array([enough[label] for label in labels], dtype=bool)


def predicted(states: np.ndarray, labels: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Whether a probe that never saw the person names the person's label."""
    said = predictions(states, labels, people)
    return said == labels[: len(said)]


def predictions(
    states: np.ndarray, labels: np.ndarray, people: np.ndarray, folds: np.ndarray | None = None
) -> np.ndarray:
    """What a probe that never saw the person says of each row; nothing where there are no two labels to tell apart.

    `folds` are those of the rows, `folds_of(people)` if they are not given.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    said = np.empty_like(labels)
    if len(set(labels)) < 2:
        return said[:0]
    folds = folds_of(people) if folds is None else folds
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
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


def _outside(folds: np.ndarray) -> list[int]:
    """How many are in training when each fold is tested."""
    inside = Counter(folds.tolist())
    return [len(folds) - inside[fold] for fold in range(FOLDS)]


def _digest(text: str) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()
