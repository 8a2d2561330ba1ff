"""Where the rows of a task come from: JSON lines, plain text, BLiMP. A reader yields rows with their file and line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError

Rows = Iterator[tuple[str, dict[str, Any]]]


def json_lines(path: Path) -> Rows:
    """A file with one JSON object a line."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PalimpsestError(f"{path}, line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise PalimpsestError(f"{path}, line {number}: a {type(row).__name__}; each line must be a JSON object.")
        yield f"{path}, line {number}", row


def jsonl(folder: Path, settings: dict[str, Any]) -> Rows:
    """Every *.jsonl file of a folder whose rows are as the task wants them; a file is a subset unless a row has one."""
    for path in _files(folder, "*.jsonl"):
        for place, row in json_lines(path):
            yield place, {"subset": path.stem} | row


def blimp(folder: Path, settings: dict[str, Any]) -> Rows:
    """BLiMP's files: a row a minimal pair, a subset a file, a subject a linguistic term."""
    for path in _files(folder, "*.jsonl"):
        for number, (place, pair) in enumerate(json_lines(path)):
            if number == settings.get("rows_a_file"):
                break
            for field in ("sentence_good", "sentence_bad", "pairID", "linguistics_term"):
                if field not in pair:
                    raise PalimpsestError(f"{place}: the field {field!r} is missing; each of BLiMP's rows has it.")
            row = {"id": f"{path.stem}/{pair['pairID']}", "subset": path.stem, "subject": pair["linguistics_term"]}
            yield place, row | in_fixed_order(row["id"], pair["sentence_good"], pair["sentence_bad"])


def text(folder: Path, settings: dict[str, Any]) -> Rows:
    """Documents of text files, without the blank lines around them.

    Regular expressions say where they are cut: `between` matches what separates two documents, `begin` where one starts
    (what precedes the first is none). `window`: only the first window of so many tokens is scored.
    """
    for entry in settings["files"]:
        path = folder / entry["file"]
        for number, (begin, document) in enumerate(_documents(_text(path), entry)):
            identity = f"{entry['subset']}/{number}"
            row = {"id": identity, "subset": entry["subset"], "passage": identity, "text": document}
            if "window" in entry:
                row["window"] = entry["window"]
            yield f"{path}, line {begin}", row


def _documents(whole: str, entry: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Each document with the line it starts on."""
    if "begin" in entry:
        begins = [match.start() for match in re.finditer(entry["begin"], whole)]
        spans = list(zip(begins, [*begins[1:], len(whole)], strict=True))
    else:
        cuts = [(0, 0), *((match.start(), match.end()) for match in re.finditer(entry["between"], whole))]
        spans = list(zip([end for _, end in cuts], [*(start for start, _ in cuts[1:]), len(whole)], strict=True))
    for start, end in spans:
        document = whole[start:end].strip("\n")
        if document.strip():
            yield whole.count("\n", 0, start) + 1, document


def in_fixed_order(identity: str, right: str, wrong: str) -> dict[str, Any]:
    """Two options in an order that the row's id fixes, so that a model that prefers a place is right half the time."""
    swap = hashlib.sha256(identity.encode()).digest()[0] % 2
    return {"options": [wrong, right] if swap else [right, wrong], "answer": right}


def _files(folder: Path, pattern: str) -> list[Path]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise PalimpsestError(f"{folder}: no {pattern} files here.")
    return files


def _text(path: Path) -> str:
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


READERS = {"jsonl": jsonl, "blimp": blimp, "text": text}
