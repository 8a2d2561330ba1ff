"""True and false statements about the people of a world, for probes of heads.

Each fact that training shows is said once as it is and once with another value, in the same form, up to the value. The
false values of an attribute are its true ones, dealt out to other people of the same half (halves.py): in each half a
value is as often true as false. (Were it so only in both together, what one half says of a value would be wrong in the
other, and a probe of values would fall below chance.)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.halves import HALVES, half
from palimpsest.world.forms import ATTRIBUTES, TRAINED_STATEMENTS, statement


def truths(world: Path, seed: int, most: int) -> Iterator[dict[str, Any]]:
    """At most so many rows of kind head, as many of each attribute; a person is a group."""
    import pandas

    facts = pandas.read_parquet(world / "facts.parquet")
    shown = facts[facts["shown"]].sort_values(["attribute", "person"])
    rng = random.Random(f"{seed}/truths")
    for attribute in ATTRIBUTES:
        known = shown.loc[shown["attribute"] == attribute.name, ["person", "value"]]
        pairs = list(known.itertuples(index=False, name=None))
        pairs = rng.sample(pairs, min(len(pairs), most // (2 * len(ATTRIBUTES))))
        pairs.sort(key=lambda pair: half(pair[0]))  # stable: within a half as they were drawn
        values = [[value for person, value in pairs if half(person) == name] for name in HALVES]
        dealt = [wrong for each in values for wrong in _others(each, rng)]
        for (person, value), wrong in zip(pairs, dealt, strict=True):
            if wrong == value:  # more than half of the people have it
                continue
            form = rng.randrange(TRAINED_STATEMENTS)
            for label, said in (("true", value), ("false", wrong)):
                yield {
                    "id": f"{person}/{attribute.name}/{label}",
                    "text": statement(attribute, form, person, said).removesuffix(" ."),
                    "label": label,
                    "group": person,
                }


def _others(values: list[str], rng: random.Random) -> list[str]:
    """The same values in an order in which none stands where it stood."""
    # Sorted by value and turned by the largest count, none meets itself if it is no more than half of them.
    order = list(range(len(values)))
    rng.shuffle(order)
    order.sort(key=lambda place: values[place])
    turn = max(Counter(values).values(), default=0)
    dealt = [""] * len(values)
    for place, number in enumerate(order):
        dealt[number] = values[order[(place + turn) % len(order)]]
    return dealt
