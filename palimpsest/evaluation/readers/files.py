"""What every reader needs: files that are there, are UTF-8, and are JSON line by line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError

Rows = Iterator[tuple[str, dict[str, Any]]]  # each row with its file and line


def json_lines(path: Path) -> Rows:
    """A file with one JSON object a line."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PalimpsestError(f"{path}, line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise PalimpsestError(f"{path}, line {number}: a {type(row).__name__}; each line must be a JSON object.")
        yield f"{path}, line {number}", row


def find(folder: Path, pattern: str) -> list[Path]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise PalimpsestError(f"{folder}: no {pattern} files here.")
    return files


def read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise PalimpsestError(f"{path}: there is no such file.") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PalimpsestError(
            f"{path}, line {line}: not UTF-8 (byte {data[error.start]:#04x}). Convert the file to UTF-8."
        ) from None


def in_fixed_order(identity: str, right: str, wrong: str) -> dict[str, Any]:
    """Two options in an order that the row's id fixes, so that a model that prefers a place is right half the time."""
    swap = hashlib.sha256(identity.encode()).digest()[0] % 2
    return {"options": [wrong, right] if swap else [right, wrong], "answer": right}
