"""Names and values of a world as entities, each in a statement of training, for edge probes of one span.

With one token a word, the type of an entity that a probe has seen is a matter of memory: words are disjoint between
training, validation and test. (Whether two mentions are of one person is no probe here: a person has one name and no
pronoun, so that it asks whether two tokens are the same.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.world.forms import ATTRIBUTES, BY_NAME, TRAINED_STATEMENTS, statement

SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}  # of the words of each type, and of the rows


def entities(world: Path, seed: int, most: int) -> Iterator[dict[str, Any]]:
    """At most so many rows of kind edge, as many of each type: person, town, trade, employer, colour, year."""
    import pandas

    facts = pandas.read_parquet(world / "facts.parquet")
    shown = facts.loc[facts["shown"], ["person", "attribute", "value"]].itertuples(index=False, name=None)
    said = [(*fact, form) for fact in sorted(shown) for form in range(TRAINED_STATEMENTS)]
    rng = random.Random(f"{seed}/entities")
    rng.shuffle(said)
    words = {"person": sorted({person for person, *_ in said})}
    words |= {attribute.name: sorted(attribute.values) for attribute in ATTRIBUTES}
    for kind, known in words.items():
        split_of = _splits(known, rng)
        room = {split: round(share * most / len(words)) for split, share in SHARES.items()}
        for person, attribute, value, form in said:
            if kind not in ("person", attribute):
                continue
            entity = person if kind == "person" else value
            split = split_of[entity]
            if room[split] == 0:
                continue
            room[split] -= 1
            text = statement(BY_NAME[attribute], form, person, value).split()
            place = text.index(entity)
            yield {
                "id": f"{kind}/{person}/{attribute}/s{form}",
                "words": text,
                "spans": [[place, place + 1]],
                "label": kind,
                "split": split,
            }


def _splits(words: list[str], rng: random.Random) -> dict[str, str]:
    """A split for each word."""
    order = rng.sample(words, len(words))
    first, second = round(SHARES["train"] * len(order)), round((1 - SHARES["test"]) * len(order))
    return {
        word: "train" if place < first else "validation" if place < second else "test"
        for place, word in enumerate(order)
    }
