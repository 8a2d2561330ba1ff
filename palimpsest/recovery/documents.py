"""Recovery text: one document a row of the batch, padded, never packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palimpsest.finetuning import batches
from palimpsest.provenance import PalimpsestError
from palimpsest.world.facts import Facts


@dataclass(frozen=True)
class Document:
    """Token ids; `silent` are the positions whose tokens are read but do not count in the loss."""

    ids: list[int]
    silent: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. A causal model's real positions never see the padding, so there is no attention mask."""

    ids: Int[Tensor, "rows length"]
    predicts: Bool[Tensor, "rows length"]  # the positions whose next token is a real one that counts

    @property
    def count(self) -> int:
        """Positions that predict."""
        return int(self.predicts.sum())

    @property
    def targets(self) -> Int[Tensor, " positions"]:
        """The next tokens, in the order in which `logits[predicts]` lists the positions."""
        return self.ids.roll(-1, dims=1)[self.predicts]


def read_texts(paths: Path | str | Sequence[Path | str], tokenizer) -> dict[str, list[str]]:
    """Each text's documents: a file has one a line, a calibration's folder its rows, decoded."""
    texts = {}
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_file():
            texts[str(path)] = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        elif path.is_dir():
            texts[str(path)] = tokenizer.batch_decode(_calibration_rows(path), skip_special_tokens=True)
        else:
            raise PalimpsestError(f"{path}: there is no such text. Recovery reads a file of one document a line.")
    return texts


def read_documents(
    paths: Path | str | Sequence[Path | str], tokenizer, context: int, values: Facts | None = None
) -> list[Document]:
    """The documents of files and of calibration folders as tokens, each cut to `context` of them.

    values: facts whose values are silent where a document names the person: the loss is left out there.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    rows: list[Document] = []
    for path in map(Path, paths):
        if path.is_dir():
            if values is not None:
                raise PalimpsestError(
                    f"{path}: values are masked where a text says them, and these are a calibration's rows of tokens. "
                    "Name a text, or leave out mask."
                )
            rows += [Document(row[:context]) for row in _calibration_rows(path)]
        else:
            rows += _tokenized(next(iter(read_texts(path, tokenizer).values())), tokenizer, context, values)
    rows = [row for row in rows if len(row) > 1 and len(row.silent) < len(row) - 1]
    if not rows:
        names = ", ".join(str(path) for path in paths)
        raise PalimpsestError(f"{names}: no document of at least two tokens. Recovery reads one document a line.")
    return rows


def _calibration_rows(folder: Path) -> list[list[int]]:
    from palimpsest.calibration import read_rows

    tokens, lengths, _ = read_rows(folder)
    return [row[:length].tolist() for row, length in zip(tokens, lengths.tolist(), strict=True)]


def _tokenized(lines: list[str], tokenizer, context: int, values: Facts | None) -> list[Document]:
    if not lines:
        return []
    if values is None:
        return [Document(ids) for ids in tokenizer(lines, truncation=True, max_length=context)["input_ids"]]
    if not tokenizer.is_fast:
        raise PalimpsestError(
            f"mask: values needs to know where each token stands in its text, which a {type(tokenizer).__name__} does "
            "not say. Use a checkpoint with a tokenizer.json."
        )
    encoded = tokenizer(lines, truncation=True, max_length=context, return_offsets_mapping=True)
    return [
        Document(ids, _silent(places, line, values))
        for ids, places, line in zip(encoded["input_ids"], encoded["offset_mapping"], lines, strict=True)
    ]


def _silent(places: list[tuple[int, int]], line: str, values: Facts) -> frozenset[int]:
    """The tokens that lie in a value of somebody whom the line names."""
    spans = [span for _, found in values.said(line) for span in found]
    return frozenset(
        number
        for number, (start, end) in enumerate(places)
        if any(start < last and first < end for first, last in spans)
    )


def pad(rows: Sequence[Document], padding: int) -> Batch:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row.ids, *[padding] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    predicts = torch.arange(longest)[None, :] < lengths[:, None] - 1
    for number, row in enumerate(rows):
        predicts[number, [position - 1 for position in row.silent if position]] = False
    return Batch(ids, predicts)


def endless_batches(rows: Sequence[Document], size: int, padding: int, seed: int) -> Iterator[Batch]:
    """Shuffled batches, epoch after epoch (`finetuning.batches`)."""
    return batches.endless_batches(rows, size, seed, lambda some: pad(some, padding))


def sorted_batches(rows: Sequence[Document], size: int, padding: int) -> list[Batch]:
    """Every row once, sorted by length, for validation."""
    ordered = sorted(rows, key=len)
    return [pad(ordered[start : start + size], padding) for start in range(0, len(ordered), size)]
