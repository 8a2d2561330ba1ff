"""Where a cell loses what it loses: one of its matrices at a time in an otherwise dense model.

The cell's own matrices are spliced in, so nothing is compressed anew. Rows of metrics, scoring "sensitivity", `layer`
the block (1 is the first), `subset` the matrix; both "all" where all are spliced in at once:

    sensitivity_error   ‖Y − Y'‖² / ‖Y‖² of what the matrix says of the dense model's inputs
    sensitivity_kl      KL(dense || spliced) of the model's predictions, in nats: of words, or of a text's classes. A
                        model without a head has sensitivity_state in its place, ‖H − H'‖² / ‖H‖² of its last states
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palimpsest.compression.install import install
from palimpsest.compression.weights import CompressedWeight
from palimpsest.representation.batches import Batch, batches
from palimpsest.representation.lens import divergence, lens_of
from palimpsest.representation.reading import Watched
from palimpsest.representation.table import bounded, row
from palimpsest.similarity.measures import means

SCORING, ALL = "sensitivity", "all"
Types = Sequence[Sequence[int]] | None  # of tokens: which of two texts they are of


@contextlib.contextmanager
def spliced(watched: Watched, compressed: Mapping[str, CompressedWeight]) -> Iterator[dict[str, nn.Module]]:
    """While it lasts, some matrices of the model are the compressed ones; gives the dense layers, by path."""
    dense = {path: watched.model.get_submodule(path) for path in compressed}
    try:
        for path, weight in compressed.items():
            layer = copy.deepcopy(dense[path])
            install(layer, weight, watched.family.transposed)
            watched.model.set_submodule(path, layer)
        yield dense
    finally:
        for path, layer in dense.items():
            watched.model.set_submodule(path, layer)


class Dense:
    """What the dense model says of the texts, to which every splice is compared."""

    def __init__(self, watched: Watched, texts: Sequence[Sequence[int]], types: Types = None) -> None:
        self.watched, self.lens = watched, lens_of(watched)
        self.batches, self.count = list(batches(texts, types)), len(texts)
        self.said = [self._says(batch) for batch in self.batches]

    @property
    def metric(self) -> str:
        return "sensitivity_kl" if self.lens or self._of_texts else "sensitivity_state"

    @property
    def _of_texts(self) -> bool:
        """Whether the model's head says something of whole texts."""
        return hasattr(self.watched.model, "classifier")

    def _says(self, batch: Batch) -> Tensor:
        """Log-probabilities (tokens, words) or (texts, classes), or the last states (tokens, width)."""
        states, logits = self.watched.read(batch)
        if self._of_texts:
            return logits.log_softmax(-1)
        return self.lens(states[-1]).log_softmax(-1) if self.lens else states[-1]

    def distance(self) -> np.ndarray:
        """How far the model is from the dense one now, (texts + 1,)."""
        sums = _Sums(self.count)
        for batch, before in zip(self.batches, self.said, strict=True):
            now = self._says(batch)
            numbers = batch.numbers if self._of_texts else batch.text
            if self.metric == "sensitivity_kl":
                far = divergence(before, now)
                sums.add(numbers, far, torch.ones_like(far))
            else:
                sums.add(numbers, _squares(now - before), _squares(before))
        return sums.mean_of_ratios() if self.metric == "sensitivity_kl" else sums.ratio()

    def error_and_distance(self, path: str, compressed: CompressedWeight) -> tuple[np.ndarray, np.ndarray]:
        """What one splice does to the matrix's own output, and to the model's, each (texts + 1,)."""
        sums, of_batches, seen = _Sums(self.count), iter(self.batches), {}

        def before(module, arguments):
            seen["inputs"] = arguments[0]

        def after(module, arguments, output):
            batch = next(of_batches)
            kept = batch.kept.to(output.device)
            expected, found = (each.reshape(*kept.shape, -1)[kept] for each in (dense(seen["inputs"]), output))
            sums.add(batch.text, _squares(found - expected), _squares(expected))

        with spliced(self.watched, {path: compressed}) as layers:
            dense = layers[path]
            layer = self.watched.model.get_submodule(path)
            layer.register_forward_pre_hook(before, prepend=True)  # before one that rounds the layer's inputs
            layer.register_forward_hook(after)
            distance = self.distance()
        return sums.ratio(), distance


class _Sums:
    """Of each text the sum of one thing and of another."""

    def __init__(self, texts: int) -> None:
        self.above, self.below = np.zeros((2, texts))

    def add(self, texts: Tensor, above: Tensor, below: Tensor) -> None:
        for sums, values in ((self.above, above), (self.below, below)):
            np.add.at(sums, texts.numpy(), values.double().cpu().numpy())

    def ratio(self) -> np.ndarray:
        """One sum by the other, over all texts and with each left out."""
        return means(self.above) / means(self.below)

    def mean_of_ratios(self) -> np.ndarray:
        return means(self.above / self.below)


def _squares(states: Tensor) -> Tensor:
    return (states.double() ** 2).sum(-1)


def sensitivities(
    watched: Watched,
    compressed: Mapping[str, CompressedWeight],
    texts: Sequence[Sequence[int]],
    task: str,
    types: Types = None,
) -> Iterator[dict[str, Any]]:
    """Rows of every matrix that the cell compressed (by its path in the model), and of all together."""
    dense = Dense(watched, texts, types)
    for place in watched.matrices:
        if place.path in compressed:
            error, distance = dense.error_and_distance(place.path, compressed[place.path])
            yield row(task, SCORING, place.block, "sensitivity_error", bounded(error, 0, np.inf), place.name)
            yield row(task, SCORING, place.block, dense.metric, bounded(distance, 0, np.inf), place.name)
    with spliced(watched, compressed):
        yield row(task, SCORING, ALL, dense.metric, bounded(dense.distance(), 0, np.inf), ALL)
