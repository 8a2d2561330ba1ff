"""Files in SentEval's format: tr, va or te; a label; a sentence. Three columns, with tabs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import lines
from palimpsest.provenance import PalimpsestError

SPLITS = {"tr": "train", "va": "validation", "te": "test"}
COMMON = 0.02  # words in a larger share of the sentences are "the" and its like


def senteval(folder: Path, definition: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of `file`, kind sentence; their ids are the numbers of their lines.

    `key`, which the control task's labels are keyed to, is the most frequent word of the sentence that at most one
    sentence in fifty has: the files tell no verb from a noun, and the first content word of a sentence seldom recurs.
    """
    path = folder / definition["file"]
    found = [(number, *_columns(path, number, line)) for number, line in lines(path)]
    sentences = [set(text.lower().split()) for *_, text in found]
    counts = Counter(word for words in sentences for word in words)
    for (number, split, label, text), words in zip(found, sentences, strict=True):
        content = [word for word in words if word.isalpha() and counts[word] <= max(2, COMMON * len(found))]
        key = max(content, key=lambda word: (counts[word], word), default="")
        yield f"{path}, line {number}", {"id": str(number), "text": text, "label": label, "split": split, "key": key}


def _columns(path: Path, number: int, line: str) -> tuple[str, str, str]:
    columns = line.rstrip("\r\n").split("\t")
    place = f"{path}, line {number}"
    if len(columns) != 3:
        raise PalimpsestError(
            f"{place}: {len(columns)} columns; write three with tabs between them: tr, va or te; label; sentence."
        )
    split, label, text = columns
    if split not in SPLITS:
        raise PalimpsestError(f"{place}: {split!r} is none of tr, va, te (training, validation, test).")
    if not label.strip():
        raise PalimpsestError(f"{place}: an empty label.")
    if not text.strip():
        raise PalimpsestError(f"{place}: an empty sentence. Take the line out, or give its words.")
    return SPLITS[split], label.strip(), text.strip()
