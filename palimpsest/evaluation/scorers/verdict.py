"""What a scorer says of one generated answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """What is said of one generated answer."""

    answer: str  # what was judged, cut out of the generated text
    correct: bool | None  # by the strict scorer; None where nothing is right or wrong
    published: bool | None = None  # by the published scorer, where that is another one
    measures: Mapping[str, float] = field(default_factory=dict)  # name of a metric -> its value for this answer


Scorer = Callable[[Mapping[str, Any], str, str], Verdict]  # row, prompt, generated text
