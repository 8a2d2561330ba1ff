"""Biographies of people of the world, parsed by its grammar: well formed, on the person, and true are three things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palimpsest.evaluation.scorers.verdict import Verdict
from palimpsest.provenance import PalimpsestError
from palimpsest.world.forms import parse


def biography(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """Judge the first statements of `prompt` and `text`, as many as the row's `facts` (attribute -> value).

    correct: all are well formed, about the person and true, and none says again what another said. Measures:

    well_formed: share of the sentences that are a statement, in any of its attribute's forms (held-out ones too), with
        a value of that attribute. One that was cut off is none.
    about: share of the well formed that are about the person.
    true: share of those whose value is right; what training never said is not right.
    complete: share of the person's facts that are told rightly: to say one thing twice tells it once.
    fluent_but_wrong: 1 if all are well formed and about the person, and one is not true.
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
    told = {found.attribute for found in true}
    measures = {
        "well_formed": len(statements) / len(said),
        "complete": len(told) / len(facts),
        "fluent_but_wrong": float(fluent and len(true) < len(said)),
    }
    if statements:
        measures["about"] = len(about) / len(statements)
    if about:
        measures["true"] = len(true) / len(about)
    return Verdict(" ".join(said), len(told) == len(said) == len(facts), measures=measures)


def _sentences(text: str) -> list[str]:
    """Sentences with their full stops; what follows the last of them is one without."""
    *finished, rest = text.split(".")
    sentences = [f"{' '.join(sentence.split())} ." for sentence in finished]
    return sentences + ([" ".join(rest.split())] if rest.strip() else [])
