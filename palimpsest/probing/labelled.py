"""What classifiers read from states that have a label each: sentences, words, and spans of words.

Beside the task stands a control task (control.py), whose labels are keyed to something that recurs: a word's type, as
Hewitt & Liang's are, or of a sentence its main verb.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.probing.control import control_labels
from palimpsest.probing.outcome import Outcome
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from palimpsest.settings import Probe

SEEN = 10  # times in training, at least: rarer labels are left out, in the test too
LEFT_OUT = 0.1  # of the labels in the test, at most


@dataclass(frozen=True)
class Labelled:
    """Things with a label, in the order of their states; every array is (things,).

    clusters: the sentence. keys: what the control task's labels are keyed to.
    """

    ids: np.ndarray
    clusters: np.ndarray
    keys: np.ndarray
    labels: np.ndarray
    split: np.ndarray

    @classmethod
    def of(cls, things: Iterable[Sequence[str]]) -> Labelled:
        """From (id, cluster, key, label, split) of each."""
        return cls(*(np.array(column, dtype=str) for column in zip(*things, strict=True)))

    def common(self, what: str) -> np.ndarray:
        """Whether each label is seen often enough in training; refuses data of which too much would go, or all."""
        counts = Counter(self.labels[self.split == "train"].tolist())
        often = {label for label, count in counts.items() if count >= SEEN}
        if len(often) < 2:
            raise PalimpsestError(
                f"{what}: {len(often)} labels stand {SEEN} times or more in the training rows; it takes two to tell "
                "apart. Give more rows, or rows of more labels."
            )
        tested = Counter(self.labels[self.split == "test"].tolist())
        if not tested:
            raise PalimpsestError(f"{what}: no label in the test rows. Give rows with `split: test`.")
        unknown = {label: count for label, count in tested.items() if label not in often}
        if sum(unknown.values()) > LEFT_OUT * tested.total():
            raise PalimpsestError(
                f"{what}: {sum(unknown.values())} of {tested.total()} labels of the test rows, "
                f"{max(unknown, key=unknown.__getitem__)!r} above all, stand fewer than {SEEN} times in the training "
                "rows. Give more rows for training, or leave these labels out."
            )
        return np.isin(self.labels, sorted(often))

    def only(self, kept: np.ndarray) -> Labelled:
        return Labelled(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


def outcomes(states: np.ndarray, things: Labelled, options: Probe, what: str) -> Iterator[Outcome]:
    """`read` of the things whose labels are seen often enough; states are (layers + 1, things, width)."""
    kept = things.common(what)
    yield from read(states[:, kept], things.only(kept), options)


def read(states: np.ndarray, things: Labelled, options: Probe, subset: str = "all") -> Iterator[Outcome]:
    """How often the most frequent label is right (layer 0, metric "majority"), and at every layer what each classifier
    gets right on the test rows: of the labels and their control ("acc"), and of labels dealt out to the things at
    random, where there is nothing to get ("shuffled"); if it is asked for, the bits of each training row's label
    ("codelength"). States are (layers + 1, things, width)."""
    task = _Task(things, subset)
    yield task.outcome("majority", 0, "majority", "test", task.majority)
    for layer in options.layers if options.layers is not None else range(len(states)):
        if layer >= len(states):
            raise PalimpsestError(
                f"layers: {layer}, but the model has {len(states) - 1}. Write numbers from 0, the embeddings, to "
                f"{len(states) - 1}, or leave the key out."
            )
        layer_states = states[layer].astype(np.float32)
        if not np.isfinite(layer_states).all():
            raise PalimpsestError(f"layer {layer}: states that are no numbers, or beyond float16. Leave the cell out.")
        for name in options.classifiers:
            for metric in ("acc", "shuffled"):
                yield task.outcome(name, layer, metric, "test", partial(task.right, name, layer_states))
            if options.codelength:
                yield task.outcome(name, layer, "codelength", "train", partial(task.bits, name, layer_states))


class _Task:
    """The rows of each split, those for training in an order that says nothing of them, and the labels: those of the
    task, of its control, and dealt out at random."""

    def __init__(self, things: Labelled, subset: str) -> None:
        self.things, self.subset, self.classes = things, subset, len(set(things.labels.tolist()))
        self.control = control_labels(things.labels, things.keys, salt="control")
        self.shuffled = control_labels(things.labels, things.ids, salt="shuffled")
        self.of = {name: np.flatnonzero(things.split == name) for name in ("train", "validation", "test")}
        self.of["train"] = np.array(sorted(self.of["train"], key=lambda number: digest(things.ids[number])), dtype=int)

    def outcome(self, scoring: str, layer: int, metric: str, split: str, measure: Callable) -> Outcome:
        rows = self.of[split]
        two = (self.shuffled, None) if metric == "shuffled" else (self.things.labels, self.control)
        values, controls = (None if labels is None else measure(labels).astype(np.float32) for labels in two)
        ids, clusters = self.things.ids[rows], self.things.clusters[rows]
        return Outcome(self.subset, scoring, layer, metric, ids, clusters, values, controls, self.classes)

    def majority(self, labels: np.ndarray) -> np.ndarray:
        ((most, _),) = Counter(labels[self.of["train"]].tolist()).most_common(1)
        return labels[self.of["test"]] == most

    def right(self, name: str, states: np.ndarray, labels: np.ndarray) -> np.ndarray:
        train, test = self.of["train"], self.of["test"]
        from palimpsest.probing.classifiers import fit  # not above: most jobs store states and train nothing

        return fit(name, states[train], labels[train], self.held(states, labels)).predict(states[test]) == labels[test]

    def bits(self, name: str, states: np.ndarray, labels: np.ndarray) -> np.ndarray:
        train = self.of["train"]
        from palimpsest.probing.codelength import online

        return online(name, states[train], labels[train], self.classes, self.held(states, labels))

    def held(self, states: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        rows = self.of["validation"]
        return (states[rows], labels[rows]) if len(rows) else None


def digest(text: str) -> bytes:
    """Decides an order that says nothing of what is ordered."""
    return hashlib.sha256(str(text).encode()).digest()
