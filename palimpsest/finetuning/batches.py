"""In which order rows are learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

Row, Batch = TypeVar("Row"), TypeVar("Batch")


def endless_batches(
    rows: Sequence[Row], size: int, seed: int, pad: Callable[[Sequence[Row]], Batch], window: int = 8
) -> Iterator[Batch]:
    """Shuffled batches of `size` rows, epoch after epoch; `pad` makes a batch of rows.

    Within a window of `window` batches rows are sorted by length, and the window's batches shuffled: this saves most
    of the padding and leaves which rows come near each other to chance. Few rows are repeated within a batch rather
    than making a smaller one, so every step weighs the same.
    """
    generator = torch.Generator().manual_seed(seed)
    queue: list[int] = []
    while True:
        while len(queue) < size * window:
            queue += torch.randperm(len(rows), generator=generator).tolist()
        chunk, queue = sorted(queue[: size * window], key=lambda row: len(rows[row])), queue[size * window :]
        for start in torch.randperm(window, generator=generator).tolist():
            yield pad([rows[row] for row in chunk[start * size : (start + 1) * size]])
