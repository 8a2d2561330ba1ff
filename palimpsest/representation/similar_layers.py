"""Linear CKA of every layer of the dense model with every layer of a cell.

The unbiased HSIC is taken always: it makes unrelated layers 0 whatever the number of examples, where the plain one
gives them about (features / examples), and maps of studies with more or fewer texts can be compared.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from palimpsest.representation.batches import Batch
from palimpsest.similarity.measures import linear_cka_map

EXAMPLES = 4  # tokens of a text, evenly spread up to the last


class Examples:
    """States of one model at a few tokens of each text."""

    def __init__(self) -> None:
        self.of_texts: dict[int, np.ndarray] = {}  # (layers, tokens, width)

    def add(self, batch: Batch, states: Tensor) -> None:
        for number in batch.text.unique().tolist():
            own = (batch.text == number).nonzero()[:, 0]
            places = np.unique(np.linspace(len(own) - 1, 0, EXAMPLES, endpoint=False).round().astype(int))
            self.of_texts[number] = states[:, own[places]].cpu().numpy()

    def states(self) -> np.ndarray:
        """(layers, examples, width), text after text."""
        return np.concatenate([self.of_texts[text] for text in sorted(self.of_texts)], axis=1)

    def texts(self) -> np.ndarray:
        """(examples,), the number of the text that each comes from."""
        lengths = [self.of_texts[text].shape[1] for text in sorted(self.of_texts)]
        return np.repeat(np.arange(len(lengths)), lengths)


def cka_map(dense: Examples, cell: Examples) -> np.ndarray:
    """(layers of the dense model, layers of the cell, texts + 1), as in similarity/measures.py."""
    return linear_cka_map(dense.states(), cell.states(), dense.texts())


def permuted(dense: Examples, cell: Examples, seed: int = 0) -> np.ndarray:
    """The same of examples that do not belong together: 0 within its interval."""
    order = np.random.default_rng(seed).permutation(len(dense.texts()))
    return linear_cka_map(dense.states(), cell.states()[:, order], dense.texts())
