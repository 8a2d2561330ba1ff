"""Recovery text: one document a line of the file, one document a row of the batch, padded, never packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palimpsest.provenance import PalimpsestError


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. A causal model's real positions never see the padding, so there is no attention mask."""

    ids: Int[Tensor, "rows length"]
    predicts: Bool[Tensor, "rows length"]  # the positions whose next token is a real one

    @property
    def targets(self) -> Int[Tensor, " positions"]:
        """The next tokens, in the order in which `logits[predicts]` lists the positions."""
        return self.ids.roll(-1, dims=1)[self.predicts]


def read_documents(paths: Path | str | Sequence[Path | str], tokenizer, context: int) -> list[list[int]]:
    """Token ids of every document of the files, as the tokenizer writes them, cut to `context` tokens."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    lines: list[str] = []
    for path in map(Path, paths):
        if not path.is_file():
            raise PalimpsestError(f"{path}: there is no such text file. Recovery reads one document a line.")
        lines += [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = tokenizer(lines, truncation=True, max_length=context)["input_ids"] if lines else []
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        names = ", ".join(str(path) for path in paths)
        raise PalimpsestError(f"{names}: no document of at least two tokens. Recovery reads one document a line.")
    return rows


def pad(rows: Sequence[Sequence[int]], padding: int) -> Batch:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return Batch(ids, torch.arange(longest)[None, :] < lengths[:, None] - 1)


def endless_batches(
    rows: Sequence[Sequence[int]], size: int, padding: int, seed: int, window: int = 8
) -> Iterator[Batch]:
    """Shuffled batches, epoch after epoch.

    Within a window of `window` batches rows are sorted by length, and the window's batches shuffled: this saves most
    of the padding and leaves which documents come near each other to chance. Few documents are repeated within a batch
    rather than making a smaller one, so every step weighs the same.
    """
    generator = torch.Generator().manual_seed(seed)
    queue: list[int] = []
    while True:
        while len(queue) < size * window:
            queue += torch.randperm(len(rows), generator=generator).tolist()
        chunk, queue = sorted(queue[: size * window], key=lambda row: len(rows[row])), queue[size * window :]
        for start in torch.randperm(window, generator=generator).tolist():
            yield pad([rows[row] for row in chunk[start * size : (start + 1) * size]], padding)


def sorted_batches(rows: Sequence[Sequence[int]], size: int, padding: int) -> list[Batch]:
    """Every row once, sorted by length, for validation."""
    ordered = sorted(rows, key=len)
    return [pad(ordered[start : start + size], padding) for start in range(0, len(ordered), size)]
