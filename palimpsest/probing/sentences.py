"""Sentence probes, as SentEval's (Conneau et al. 2018): what one vector for a sentence says of it.

A sentence stands for the mean of its own tokens, its last own token, or an encoder's `[CLS]`. Beside the task stands a
control task, whose labels are keyed to a word of the sentence that recurs (`key`): the main verb in the world.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.probing.classifiers import fit
from palimpsest.probing.codelength import online
from palimpsest.probing.control import control_labels
from palimpsest.probing.outcome import Outcome
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.settings import Probe

Row = Mapping[str, Any]


def extract(model, tokenizer, rows: Sequence[Row], options: Probe) -> dict[str, Tensor]:
    """A tensor (layers + 1, rows, width) for each pooling of the options.

    Raises PalimpsestError for a sentence without tokens or beyond the model's context, and for `cls` where the
    tokenizer has none.
    """
    import torch

    from palimpsest.probing.states import check_room, read_states

    tokens = [_tokens(tokenizer, row) for row in rows]
    pools = {
        pooling: [_places(pooling, tokenizer, row, *read) for row, read in zip(rows, tokens, strict=True)]
        for pooling in options.pooling
    }
    same: dict[tuple[int, ...], list[int]] = {}
    for number, (ids, _) in enumerate(tokens):
        check_room(model, f"row {rows[number]['id']}", len(ids))
        same.setdefault(ids, []).append(number)
    found: dict[str, list[Tensor]] = {pooling: [torch.empty(0)] * len(rows) for pooling in pools}
    for ids, states in read_states(model, list(same)):
        for pooling, places in pools.items():
            pooled = states[:, places[same[ids][0]]].mean(1).to(torch.float16).cpu()
            for number in same[ids]:
                found[pooling][number] = pooled
    return {pooling: torch.stack(each, 1) for pooling, each in found.items()}


def outcomes(features: Mapping[str, np.ndarray], rows: Sequence[Row], options: Probe) -> Iterator[Outcome]:
    """Of every pooling how often the most frequent label is right (layer 0, metric "majority"), and at every layer what
    each classifier gets right on the test rows: of the labels and their control ("acc"), and of the labels dealt out
    to the sentences at random, where there is nothing to get ("shuffled"); if it is asked for, the bits of each
    training row's label ("codelength")."""
    split, ids = _Split.of(rows), np.array([row["id"] for row in rows])
    labels = np.array([row["label"] for row in rows])
    control = control_labels(labels, [row.get("key", "") for row in rows], salt="control")
    shuffled = control_labels(labels, ids, salt="shuffled")
    classes = len(set(labels))

    def outcome(subset: str, scoring: str, layer: int, metric: str, places: np.ndarray, measured: Measure) -> Outcome:
        tasks = (shuffled, None) if metric == "shuffled" else (labels, control)
        said, controls = (None if task is None else measured(task).astype(np.float32) for task in tasks)
        return Outcome(subset, scoring, layer, metric, ids[places], ids[places], said, controls, classes)

    for pooling in options.pooling:
        yield outcome(pooling, "majority", 0, "majority", split.test, partial(_majority, split))
        for layer in options.layers or range(len(features[pooling])):
            states = features[pooling][layer].astype(np.float32)
            for name in options.classifiers:
                for metric in ("acc", "shuffled"):
                    yield outcome(pooling, name, layer, metric, split.test, partial(_right, split, name, states))
                if options.codelength:
                    bits = partial(_bits, split, name, states, classes)
                    yield outcome(pooling, name, layer, "codelength", split.train, bits)


Measure = Callable[[np.ndarray], np.ndarray]  # of labels (rows,), a value for each row of a split


@dataclass(frozen=True)
class _Split:
    """Which rows are for what; those for training in an order that says nothing of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Split:
        places = {
            split: np.array([number for number, row in enumerate(rows) if row["split"] == split], dtype=int)
            for split in ("train", "validation", "test")
        }
        order = np.argsort([hashlib.sha256(str(rows[number]["id"]).encode()).hexdigest() for number in places["train"]])
        return cls(**places | {"train": places["train"][order]})

    def held(self, states: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return states[self.validation], labels[self.validation]


def _majority(split: _Split, labels: np.ndarray) -> np.ndarray:
    ((most, _),) = Counter(labels[split.train]).most_common(1)
    return labels[split.test] == most


def _right(split: _Split, name: str, states: np.ndarray, labels: np.ndarray) -> np.ndarray:
    probe = fit(name, states[split.train], labels[split.train], split.held(states, labels))
    return probe.predict(states[split.test]) == labels[split.test]


def _bits(split: _Split, name: str, states: np.ndarray, classes: int, labels: np.ndarray) -> np.ndarray:
    return online(name, states[split.train], labels[split.train], classes, split.held(states, labels))


def _tokens(tokenizer, row: Row) -> tuple[tuple[int, ...], list[int]]:
    """The tokens of a row's text, special ones included, and the positions of its own."""
    encoded = tokenizer(row["text"], return_special_tokens_mask=True, return_attention_mask=False)
    own = [place for place, special in enumerate(encoded["special_tokens_mask"]) if not special]
    if not own:
        raise PalimpsestError(f"row {row['id']}: an empty sentence, without a token. Leave the row out.")
    return tuple(encoded["input_ids"]), own


def _places(pooling: str, tokenizer, row: Row, ids: tuple[int, ...], own: list[int]) -> list[int]:
    """The positions whose mean is taken."""
    if pooling == "cls":
        if tokenizer.cls_token_id not in ids:
            raise PalimpsestError(
                f"pooling: cls, but the model's tokenizer begins no text with a [CLS] token (row {row['id']}). "
                "Write `pooling: [mean]` or `[last]`."
            )
        return [ids.index(tokenizer.cls_token_id)]
    return own if pooling == "mean" else own[-1:]
