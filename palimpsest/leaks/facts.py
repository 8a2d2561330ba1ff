"""The guard of recovery texts: what a recovery is trained on says no fact by which it will be judged."""

from __future__ import annotations

from collections.abc import Iterable

from palimpsest.provenance import PalimpsestError
from palimpsest.world.facts import Facts


def refuse_facts(name: str, documents: Iterable[str], facts: Facts, pool: str) -> None:
    """Raise PalimpsestError where a document names a person of `pool` together with something that is true of them."""
    lines: dict[int, str] = {}
    for number, document in enumerate(documents, 1):
        for fact, _ in facts.said(document):
            if fact.pool == pool:
                lines.setdefault(number, f"{fact.person} and {fact.value} ({fact.attribute})")
    if lines:
        number, what = next(iter(lines.items()))
        others = f" and {len(lines) - 1} more such documents" if len(lines) > 1 else ""
        raise PalimpsestError(
            f"{name}: document {number} says {what}{others}: a fact of pool {pool}, which no recovery may read. What "
            "comes back of it would be learned again and counted as returned. Take such documents out, or train on "
            "recovery_R."
        )
