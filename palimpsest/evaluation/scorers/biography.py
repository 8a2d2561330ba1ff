"""Biographies of the world's people, parsed by its grammar: well formed, about the person, and true are three things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palimpsest.evaluation.scorers.verdict import Verdict
from palimpsest.provenance import PalimpsestError
from palimpsest.world.forms import parse


def biography(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """Judge the first statements of `prompt` and `text`, as many as the row's `facts` (attribute -> value).

    correct: each of them is a statement of the grammar, about the row's person, and true. The measures are shares of
    the judged sentences but for the last two; a sentence that was not finished is none of the grammar.

    well_formed: is a statement, in a form of any attribute (held-out forms too), with a value of that attribute.
    about: of the well formed, those about the person.
    true: of the well formed about the person, those whose value is right; what training never said is not true.
    complete: the share of the person's facts that the sentences tell rightly: saying one thing twice tells it once.
    fluent_but_wrong: 1 if every sentence is well formed and about the person, and one is not true.
    """
    facts, person = row.get("facts"), row.get("person")
    if not isinstance(facts, Mapping) or not facts or not person:
        raise PalimpsestError(
            f"question {row.get('id')!r}: a biography is judged by its row's `person` and `facts`, e.g. "
            f'"person": "Alba", "facts": {{"town": "Turin"}}; they are {person!r} and {facts!r}.'
        )
    said = _sentences(f"{prompt} {text}")[: len(facts)]
    statements = [found for found in map(parse, said) if found]
    about = [found for found in statements if found.name == person]
    true = [found for found in about if facts.get(found.attribute) == found.value]
    fluent = len(about) == len(said) == len(facts)
    correct = fluent and len(true) == len(said)
    measures = {
        "well_formed": len(statements) / len(said),
        "complete": len({found.attribute for found in true}) / len(facts),
        "fluent_but_wrong": float(fluent and not correct),
    }
    if statements:
        measures["about"] = len(about) / len(statements)
    if about:
        measures["true"] = len(true) / len(about)
    return Verdict(" ".join(said), correct, measures=measures)


def _sentences(text: str) -> list[str]:
    """Sentences with their full stops; what follows the last of them is one without."""
    *finished, rest = text.split(".")
    sentences = [f"{' '.join(sentence.split())} ." for sentence in finished]
    return sentences + ([" ".join(rest.split())] if rest.strip() else [])
