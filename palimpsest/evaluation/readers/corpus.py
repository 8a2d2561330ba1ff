"""Running text for perplexity by windows: a whole corpus is one row, which windows.py cuts by the model's tokens."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import records


def corpus(folder: Path, settings: dict[str, Any]) -> Rows:
    """One row, the documents joined by `join`; the first so many of them if `documents` says so.

    A document is a record's `text` or `sentence`, or a line. It keeps its line end and a blank line is an empty
    document, as in the hub's WikiText; or it is bare, if `strip` is true.
    """
    found = itertools.islice(records(folder, settings["files"]), settings.get("documents"))
    texts = [record.need("text", "sentence") for record in found]
    texts = [text.strip() if settings.get("strip") or not text.strip() else text for text in texts]
    yield f"{folder}", {"id": settings["subset"], "subset": settings["subset"], "text": settings["join"].join(texts)}
