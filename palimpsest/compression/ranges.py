"""What values an option may take, by the name of its annotation. Plain Python: studies are checked with it.

    def gptq(weight, stats, level, *, damping: Positive = 0.01): ...

The names are types too (`Positive` is a float), so that an annotation reads as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Positive = float
NotNegative = float
Share = float
Count = int
ScaleBits = int
StartMask = str


@dataclass(frozen=True)
class Range:
    """`text` completes "it is …"; `contains` says whether a value of the right type lies in it."""

    text: str
    contains: Callable[[Any], bool]


RANGES = {
    "Positive": Range("more than 0", lambda value: 0 < value < float("inf")),
    "NotNegative": Range("0 or more", lambda value: 0 <= value < float("inf")),
    "Share": Range("from 0 to 1", lambda value: 0 <= value <= 1),
    "Count": Range("a whole number of at least 1", lambda value: value >= 1),
    "StartMask": Range("wanda or magnitude", lambda value: value in ("wanda", "magnitude")),
    "ScaleBits": Range("16, 32, or 0 for the checkpoint's precision", lambda value: value in (0, 16, 32)),
}
