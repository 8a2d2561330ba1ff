"""What is counted in a generated text, by words: runs of letters, digits and apostrophes, in lower case."""

from __future__ import annotations

import re
from collections.abc import Sequence

NGRAM = 4


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def repetition(found: Sequence[str], n: int = NGRAM) -> float:
    """Share of the n-grams that were there before: 0 if none is repeated, and in texts of fewer than n words."""
    grams = [tuple(found[start : start + n]) for start in range(len(found) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
