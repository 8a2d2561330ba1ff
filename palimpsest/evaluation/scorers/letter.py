"""The letter of a multiple-choice question, generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palimpsest.evaluation.scorers.verdict import Verdict


def letter(row: Mapping[str, Any], prompt: str, generated: str) -> Verdict:
    """Strictly the generated text is the letter. As published, the last character of prompt and answer is: a token that
    ends in the letter counts, and one that says nothing leaves the prompt's colon, which is wrong."""
    answer = generated.strip()
    return Verdict(answer, answer == row["answer"], published=(prompt + generated)[-1] == row["answer"])
