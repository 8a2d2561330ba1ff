"""Calibration rows: samples of a text, or random tokens, drawn by a seed, as tokens of one model.

The artifact folder has `calibration.json` and `tokens.safetensors`: input_ids int64 (rows, length), padded on the
right, and lengths int64 (rows,).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Integer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from palimpsest import provenance
from palimpsest.provenance import PalimpsestError

ROWS, RECORD = "tokens.safetensors", "calibration.json"


class Text(Protocol):
    """What rows are drawn from."""

    @property
    def said(self) -> dict[str, str]:
        """What calibration.json says of it."""

    def draw(self, tokenizer: Any, samples: int, room: int, generator: random.Random) -> list[list[int]]:
        """`samples` rows of at most `room` tokens, without <bos>."""


@dataclass(frozen=True)
class Running:
    """Running text: a row is a window of it at a random place."""

    place: str
    said: dict[str, str]
    text: str

    def draw(self, tokenizer: Any, samples: int, room: int, generator: random.Random) -> list[list[int]]:
        tokens = _encode(tokenizer, [self.text])[0]
        if len(tokens) < room:
            raise PalimpsestError(
                f"{self.place}: {len(tokens)} tokens, fewer than one row of {room}. Use a longer text or a smaller "
                "length."
            )
        starts = [generator.randrange(len(tokens) - room + 1) for _ in range(samples)]
        return [tokens[start : start + room] for start in starts]


@dataclass(frozen=True)
class Documents:
    """Documents: drawn without replacement, a row each; of a longer one a random window is taken."""

    place: str
    said: dict[str, str]
    documents: Sequence[Any]

    def draw(self, tokenizer: Any, samples: int, room: int, generator: random.Random) -> list[list[int]]:
        documents = _encode(tokenizer, self.chosen(samples, generator))
        starts = [generator.randrange(max(0, len(document) - room) + 1) for document in documents]
        return [document[start : start + room] for document, start in zip(documents, starts, strict=True)]

    def chosen(self, samples: int, generator: random.Random) -> list[Any]:
        if len(self.documents) < samples:
            raise PalimpsestError(
                f"{self.place}: {len(self.documents)} documents, {samples} samples asked: write samples: "
                f"{len(self.documents)} or use a longer text."
            )
        return generator.sample(list(self.documents), samples)


@dataclass(frozen=True)
class Examples:
    """What a classifier is trained on: a text or a pair a row, its parts divided by [SEP], cut to the room."""

    place: str
    said: dict[str, str]
    examples: Sequence[tuple[str, ...]]

    def draw(self, tokenizer: Any, samples: int, room: int, generator: random.Random) -> list[list[int]]:
        chosen = Documents(self.place, self.said, self.examples).chosen(samples, generator)
        encoded = [_encode(tokenizer, list(texts)) for texts in chosen]
        between = [] if tokenizer.sep_token_id is None else [tokenizer.sep_token_id]
        return [[token for part in parts for token in (*part, *between)][:-1][:room] for parts in encoded]


@dataclass(frozen=True)
class RandomTokens:
    """No text: every token is drawn evenly from the vocabulary, special tokens apart."""

    @property
    def said(self) -> dict[str, str]:
        return {"text": "none", "kind": "random tokens"}

    def draw(self, tokenizer: Any, samples: int, room: int, generator: random.Random) -> list[list[int]]:
        special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
        words = sorted(set(tokenizer.get_vocab().values()) - special)
        return [generator.choices(words, k=room) for _ in range(samples)]


def read_text(path: Path | str) -> Text:
    """A text file: running text if it has blank lines, else a document a line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PalimpsestError(f"{path}: there is no such text file to calibrate on.") from None
    except UnicodeDecodeError as error:
        raise PalimpsestError(f"{path}: not a text in UTF-8 ({error}).") from None
    said = {"text": path.name, "text_digest": provenance.digest_file(path)}
    if re.search(r"\S.*\n[^\S\n]*\n.*\S", text, re.DOTALL):
        return Running(str(path), said | {"kind": "running text"}, text)
    lines = [line for line in text.split("\n") if line.strip()]
    return Documents(str(path), said | {"kind": "a document a line"}, lines)


def task_text(task: str, documents: Sequence[str]) -> Documents:
    """A task's own text, a question with its answer a document."""
    said = {"text": f"task {task}", "text_digest": provenance.digest_json(list(documents)), "kind": "task"}
    return Documents(f"task {task}", said, documents)


def training_text(task: str, examples: Sequence[tuple[str, ...]]) -> Examples:
    """The rows that classifiers of a task are trained on, none of which it asks."""
    digest = provenance.digest_json([list(texts) for texts in examples])
    return Examples(
        f"task {task}", {"text": f"training rows of {task}", "text_digest": digest, "kind": "task"}, examples
    )


def draw(
    text: Text | Path | str,
    model_folder: Path | str,
    output_folder: Path | str,
    *,
    samples: int,
    length: int,
    seed: int = 0,
) -> None:
    """Draw `samples` rows of at most `length` tokens of the model's tokenizer from a text, and write the artifact.

    A path is a text file (`read_text`). Each row begins with the <bos> token if the model's tokenizer puts one; an
    encoder's stands between [CLS] and [SEP].
    """
    from palimpsest.loading import load_tokenizer

    if samples < 1 or length < 2:
        raise PalimpsestError(
            f"A calibration of {samples} samples of {length} tokens: write at least 1 sample of at least 2 tokens."
        )
    text = read_text(text) if isinstance(text, Path | str) else text
    tokenizer = load_tokenizer(model_folder)
    first, last = _frame(tokenizer)
    room = length - len(first) - len(last)
    if room < 1:
        raise PalimpsestError(
            f"A calibration of {length} tokens a row, all of them special: write at least {length + 1}."
        )
    bodies = [first + body + last for body in text.draw(tokenizer, samples, room, random.Random(seed))]
    rows = torch.full((samples, length), tokenizer.pad_token_id or 0, dtype=torch.int64)
    lengths = torch.tensor([len(body) for body in bodies])
    for row, body in zip(rows, bodies, strict=True):
        row[: len(body)] = torch.tensor(body)
    record = text.said | {"samples": samples, "length": length, "seed": seed, "tokens": int(lengths.sum())}
    with provenance.atomic_folder(output_folder) as temporary:
        save_file({"input_ids": rows, "lengths": lengths}, temporary / ROWS)
        provenance.write_json(temporary / RECORD, record)


def read_rows(folder: Path | str) -> tuple[Integer[Tensor, "rows length"], Integer[Tensor, " rows"], dict[str, Any]]:
    """The rows, their lengths, and what compression.json says of them: the record with the digest of the folder."""
    folder = Path(folder)
    digest = provenance.verify_folder(folder)
    for name in (ROWS, RECORD):
        if not (folder / name).is_file():
            raise PalimpsestError(f"{folder}: no {name} here: this is not a calibration folder.")
    with safe_open(folder / ROWS, framework="pt") as file:
        rows, lengths = file.get_tensor("input_ids"), file.get_tensor("lengths")
    if rows.numel() == 0 or int(lengths.sum()) == 0:
        raise PalimpsestError(f"{folder}: the calibration has 0 tokens: draw at least one sample.")
    return rows, lengths, provenance.read_json(folder / RECORD) | {"digest": digest}


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts around a text: [<bos>] and [], an encoder's [[CLS]] and [[SEP]], or nothing."""
    ids = tokenizer("a")["input_ids"]
    if tokenizer.cls_token_id is not None and (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id):
        return ids[:1], ids[-1:]
    return ids[:1] if tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id] else [], []
