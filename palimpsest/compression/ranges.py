"""What values an option may take, by the name of its annotation. Plain Python: studies are checked with it.

    def gptq(weight, stats, level, *, damping: Positive = 0.01): ...

The names are types too (`Positive` is a float), so that an annotation reads as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from palimpsest.levels import LevelError, parse

Positive = float
NotNegative = float
Share = float
Count = int
ScaleBits = int
StartMask = str
Divergence = str
Weighting = str
Names = list
Blocks = list
Shares = list
Levels = list
Whose = str


@dataclass(frozen=True)
class Range:
    """`text` completes "it is …"; `contains` says whether a value of the right type lies in it.

    `example` is what messages paste where an option's default, an empty list, would say nothing; `kinds` are the types
    that are right besides the default's.
    """

    text: str
    contains: Callable[[Any], bool]
    example: Any = None
    kinds: tuple[type, ...] = ()


def _is_level(text: Any) -> bool:
    try:
        return isinstance(text, str) and parse(text).syntax != "full"
    except LevelError:
        return False


def _each(contains: Callable[[Any], bool]) -> Callable[[list], bool]:
    return lambda values: all(contains(value) for value in values)


RANGES = {
    "Positive": Range("more than 0", lambda value: 0 < value < float("inf")),
    "NotNegative": Range("0 or more", lambda value: 0 <= value < float("inf")),
    "Share": Range("from 0 to 1", lambda value: 0 <= value <= 1),
    "Count": Range("a whole number of at least 1", lambda value: value >= 1),
    "StartMask": Range("wanda or magnitude", lambda value: value in ("wanda", "magnitude")),
    "ScaleBits": Range("16, 32, or 0 for the checkpoint's precision", lambda value: value in (0, 16, 32)),
    "Divergence": Range("kl or squared", lambda value: value in ("kl", "squared")),
    "Weighting": Range("gradient, energy or none", lambda value: value in ("gradient", "energy", "none")),
    "Names": Range("a list of names", _each(lambda value: isinstance(value, str) and value != ""), ["q_proj"]),
    "Blocks": Range("a list of block numbers, from 0", _each(lambda value: type(value) is int and value >= 0), [0]),
    "Shares": Range(
        "a list of shares between 0 and 1",
        lambda values: bool(values) and _each(lambda value: type(value) is float and 0 < value < 1)(values),
    ),
    "Levels": Range("a list of levels, as texts", _each(_is_level)),
    "Whose": Range("chosen or whole", lambda value: value in ("chosen", "whole")),
}
