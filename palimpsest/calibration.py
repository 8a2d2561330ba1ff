"""Calibration rows: samples of a text, drawn by a seed, as tokens of one model.

The artifact folder has `calibration.json` and `tokens.safetensors`: input_ids int64 (rows, length), padded on the
right, and lengths int64 (rows,).
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Integer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from palimpsest.provenance import PalimpsestError, atomic_folder, digest_file, read_json, verify_folder, write_json

ROWS, RECORD = "tokens.safetensors", "calibration.json"


def draw(
    text_file: Path | str,
    model_folder: Path | str,
    output_folder: Path | str,
    *,
    samples: int,
    length: int,
    seed: int = 0,
) -> None:
    """Draw `samples` rows of at most `length` tokens of the model's tokenizer from a text file, and write the artifact.

    A text with blank lines is running text: rows are windows of it at random places. Otherwise each line is a document:
    documents are drawn without replacement, and of a longer one a random window is taken. Each row begins with the
    <bos> token if the model's tokenizer puts one.
    """
    from palimpsest.loading import load_tokenizer

    path, generator = Path(text_file), random.Random(seed)
    if samples < 1 or length < 2:
        raise PalimpsestError(
            f"A calibration of {samples} samples of {length} tokens: write at least 1 sample of at least 2 tokens."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PalimpsestError(f"{path}: there is no such text file to calibrate on.") from None
    except UnicodeDecodeError as error:
        raise PalimpsestError(f"{path}: not a text in UTF-8 ({error}).") from None
    tokenizer = load_tokenizer(model_folder)
    first = _first_token(tokenizer)
    room = length - len(first)
    if re.search(r"\S.*\n[^\S\n]*\n.*\S", text, re.DOTALL):
        kind, bodies = "running text", _windows(_encode(tokenizer, [text])[0], samples, room, generator, path)
    else:
        kind, bodies = "a document a line", _documents(text, tokenizer, samples, room, generator, path)
    rows = torch.full((samples, length), tokenizer.pad_token_id or 0, dtype=torch.int64)
    lengths = torch.tensor([len(first) + len(body) for body in bodies])
    for row, body in zip(rows, bodies, strict=True):
        row[: len(first) + len(body)] = torch.tensor(first + body)
    record = {
        "text": path.name,
        "text_digest": digest_file(path),
        "kind": kind,
        "samples": samples,
        "length": length,
        "seed": seed,
        "tokens": int(lengths.sum()),
    }
    with atomic_folder(output_folder) as temporary:
        save_file({"input_ids": rows, "lengths": lengths}, temporary / ROWS)
        write_json(temporary / RECORD, record)


def read_rows(folder: Path | str) -> tuple[Integer[Tensor, "rows length"], Integer[Tensor, " rows"], dict[str, Any]]:
    """The rows, their lengths, and what compression.json says of them: the record with the digest of the folder."""
    folder = Path(folder)
    digest = verify_folder(folder)
    for name in (ROWS, RECORD):
        if not (folder / name).is_file():
            raise PalimpsestError(f"{folder}: no {name} here: this is not a calibration folder.")
    with safe_open(folder / ROWS, framework="pt") as file:
        rows, lengths = file.get_tensor("input_ids"), file.get_tensor("lengths")
    if rows.numel() == 0 or int(lengths.sum()) == 0:
        raise PalimpsestError(f"{folder}: the calibration has 0 tokens: draw at least one sample.")
    return rows, lengths, read_json(folder / RECORD) | {"digest": digest}


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]


def _first_token(tokenizer: Any) -> list[int]:
    """[<bos>] for a tokenizer that puts it, else []."""
    ids = tokenizer("a")["input_ids"]
    return [ids[0]] if tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id] else []


def _windows(tokens: list[int], samples: int, room: int, generator: random.Random, path: Path) -> list[list[int]]:
    if len(tokens) < room:
        raise PalimpsestError(
            f"{path}: {len(tokens)} tokens, fewer than one row of {room}. Use a longer text or a smaller length."
        )
    starts = [generator.randrange(len(tokens) - room + 1) for _ in range(samples)]
    return [tokens[start : start + room] for start in starts]


def _documents(
    text: str, tokenizer: Any, samples: int, room: int, generator: random.Random, path: Path
) -> list[list[int]]:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < samples:
        raise PalimpsestError(
            f"{path}: {len(lines)} documents (one a line), {samples} samples asked: write samples: {len(lines)} or use "
            "a longer text."
        )
    documents = _encode(tokenizer, generator.sample(lines, samples))
    starts = [generator.randrange(max(0, len(document) - room) + 1) for document in documents]
    return [document[start : start + room] for document, start in zip(documents, starts, strict=True)]
