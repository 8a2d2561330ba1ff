"""Where an answer comes from: the passage, training, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palimpsest.evaluation.scorers.verdict import Verdict
from palimpsest.provenance import PalimpsestError


def value_source(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """Compare an answer with the row's `sources`: name of a measure -> the values that come from there.

    Each source is a measure, 1 or 0. `other`: a value of the attribute (one of the row's `options`) that is neither the
    right one nor in a source; `no_value`: none of the options. Where the row's answer is none of the options, nothing
    that can be said is right: such questions are not judged.
    """
    sources, options = row.get("sources"), row.get("options")
    if not isinstance(sources, Mapping) or not isinstance(options, list):
        raise PalimpsestError(
            f"question {row.get('id')!r}: its row must have `options` and say where they come from, e.g. "
            f'"sources": {{"learned": ["Turin"]}}; `sources` and `options` are {sources!r} and {options!r}.'
        )
    answer, right = text.strip(), row["answer"]
    measures = {name: float(answer in values) for name, values in sources.items()}
    measures["no_value"] = float(answer not in options)
    measures["other"] = float(answer in options and answer != right and not any(measures.values()))
    return Verdict(answer, answer == right if right in options else None, measures=measures)
