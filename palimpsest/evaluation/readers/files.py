"""What every reader needs: files that are there, are UTF-8, and are JSON line by line."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError

Rows = Iterator[tuple[str, dict[str, Any]]]  # each row with its file and line


class NoSuchFile(PalimpsestError):
    """A file that a reader looks for is not there."""


def numbered_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one JSON object a line, each with the number of its line."""
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PalimpsestError(f"{path}, line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise PalimpsestError(f"{path}, line {number}: a {type(row).__name__}; each line must be a JSON object.")
        yield number, row


def json_lines(path: Path) -> Rows:
    """The same, each with its file and line."""
    for number, row in numbered_json(path):
        yield f"{path}, line {number}", row


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their ends, one after the other; a name that ends in .gz is gzipped."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield number, _decode(line, f"{path}, line {number}")
    except (FileNotFoundError, IsADirectoryError):
        raise NoSuchFile(f"{path}: there is no such file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PalimpsestError(f"{path}: not gzip, or damaged ({error}). Get it again.") from None


def read_text(path: Path) -> str:
    """A text file whole, with line ends as they stand."""
    return "".join(line for _, line in lines(path))


def _decode(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PalimpsestError(
            f"{place}: not UTF-8 (byte {data[error.start]:#04x}). Convert the file to UTF-8."
        ) from None


def find(folder: Path, pattern: str) -> list[Path]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise PalimpsestError(f"{folder}: no {pattern} files here.")
    return files


def in_fixed_order(identity: str, right: str, wrong: str) -> dict[str, Any]:
    """Two options in an order that the row's id fixes, so that a model that prefers a place is right half the time."""
    swap = hashlib.sha256(identity.encode()).digest()[0] % 2
    return {"options": [wrong, right] if swap else [right, wrong], "answer": right}
