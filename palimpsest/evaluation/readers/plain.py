"""Files that are as a task wants them already: JSON lines, and plain text that is cut into documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, find, json_lines, read_text


def jsonl(folder: Path, settings: dict[str, Any]) -> Rows:
    """Every *.jsonl file of a folder whose rows are as the task wants them; a file is a subset unless a row has one."""
    for path in find(folder, "*.jsonl"):
        for place, row in json_lines(path):
            yield place, {"subset": path.stem} | row


def text(folder: Path, settings: dict[str, Any]) -> Rows:
    """Documents of text files, without the blank lines around them.

    Regular expressions say where they are cut: `between` matches what separates two documents, `begin` where one starts
    (what precedes the first is none). `window`: only the first window of so many tokens is scored.
    """
    for entry in settings["files"]:
        path = folder / entry["file"]
        for number, (begin, document) in enumerate(_documents(read_text(path), entry)):
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
