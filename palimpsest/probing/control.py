"""Control tasks (Hewitt & Liang 2019, arXiv:1909.03368): labels that say nothing about a sentence but what its key is.

A probe that does well on them does so by remembering keys; what it does better on the task itself is its selectivity.
The key has to recur: were it each sentence's own, nothing could be remembered, and every control would be at chance.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np


def control_labels(labels: Sequence[str], keys: Sequence[str], salt: str) -> np.ndarray | None:
    """A label for each key, (rows,): drawn at random, and distributed over the rows as `labels` are, as near as keys
    of different frequency allow. None where there are no two keys to be told apart."""
    keys, counts = list(keys), Counter(keys)
    if len(counts) < 2 or len(set(labels)) < 2:
        return None
    left, rng = Counter(labels), np.random.default_rng(int.from_bytes(_digest(salt)[:8]))
    names, dealt = sorted(left), {}
    for key in sorted(counts, key=lambda key: _digest(f"{salt}/{key}")):
        room = np.array([max(0, left[name]) for name in names], dtype=float)
        dealt[key] = names[int(rng.choice(len(names), p=room / room.sum()))]
        left[dealt[key]] -= counts[key]
    if len(set(dealt.values())) < 2:
        return None
    return np.array([dealt[key] for key in keys])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
