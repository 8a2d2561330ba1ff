"""The online code of labels (Voita & Titov 2020, arXiv:2003.12298): how many bits it takes to send the labels of known
states, when after each portion a probe is trained on all that came before. Few bits: the label lies open in the states,
and few examples show where."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from palimpsest.probing.classifiers import Labels, States, fit

SHARES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)


def online(
    name: str,
    states: States,
    labels: Labels,
    classes: int,
    validation: tuple[States, Labels] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Bits of each label, (rows,), in the order in which they are sent; their sum is the codelength.

    `validation` rows are for the classifier's choices, and known to both ends. The first portion costs log2(classes) a
    label. A probe knows only the labels that it has seen: its probabilities p after n labels are mixed with uniform
    ones, (n·p + 1) / (n + classes), so that no label costs infinitely much.
    """
    bits = np.full(len(labels), np.log2(classes))
    for start, stop in portions(len(labels)):
        said = _probabilities(name, states, labels, start, stop, validation, seed)
        bits[start:stop] = -np.log2((start * said + 1) / (start + classes))
    return bits


def portions(rows: int) -> Iterator[tuple[int, int]]:
    """Where the portions after the first start and stop; those of no row are left out."""
    ends = sorted({max(1, round(share * rows)) for share in SHARES})
    return pairwise(ends)


def _probabilities(
    name: str,
    states: States,
    labels: Labels,
    start: int,
    stop: int,
    validation: tuple[States, Labels] | None,
    seed: int,
) -> np.ndarray:
    """What a probe of the first `start` rows gives to the label of each of the next."""
    seen = np.unique(labels[:start])
    if len(seen) < 2:
        return (labels[start:stop] == seen[0]).astype(float)
    probe = fit(name, states[:start], labels[:start], validation, seed)
    every = probe.probabilities(states[start:stop])
    columns = np.searchsorted(seen, labels[start:stop]).clip(max=len(seen) - 1)
    return np.where(seen[columns] == labels[start:stop], every[np.arange(stop - start), columns], 0.0)
