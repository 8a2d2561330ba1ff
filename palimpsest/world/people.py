"""The people of a world and what is true of them.

Every draw comes from `numpy.random.default_rng([seed, stream])`, one stream a purpose, so that a change in one
part of the world leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palimpsest.world.forms import ATTRIBUTES

POOLS = ("R", "V", "U")
POOL_SHARES = (0.45, 0.10, 0.45)
PURPOSES = ("names", "facts", "pools", "documents", "tasks", "texts", "knowledge")
PURPOSES += ("absent", "distracted", "contradiction", "length")  # a task each
PURPOSES += ("entailment_training",)
STREAMS = {name: number for number, name in enumerate(PURPOSES)}


def stream(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, STREAMS[purpose]])


@dataclass(frozen=True)
class Person:
    """A real person of the world (`facts` are the truth, `shown` the attributes that training texts mention)."""

    name: str
    rank: int  # 0 is the most frequent
    facts: dict[str, str]
    shown: frozenset[str]
    questions_shown: bool
    pool: str


@dataclass(frozen=True)
class Population:
    people: tuple[Person, ...]
    invented: tuple[str, ...]  # names of people who exist only inside passages

    @property
    def names(self) -> list[str]:
        return [person.name for person in self.people] + list(self.invented)

    def weights(self, zipf_offset: float) -> np.ndarray:
        """Zipf's law, 1 / (rank + offset), normalized."""
        weights = 1.0 / (np.arange(len(self.people)) + zipf_offset)
        return weights / weights.sum()


def make_names(count: int, rng: np.random.Generator) -> list[str]:
    """`count` different pronounceable names, none of which is a word of the forms or the prose."""
    onsets = "b br c d dr f g gr h j k l m n p r s t tr v w z".split()
    vowels = "a e i o u".split()
    middles = "l m n r s t v d nd rl lm st rn".split()
    ends = "a o e is an en or ius el in ea una eth".split()
    names: dict[str, None] = {}
    while len(names) < count:
        parts = (onsets, vowels, middles, ends)
        names.setdefault("".join(part[rng.integers(len(part))] for part in parts).capitalize())
    return list(names)


def populate(seed: int, people: int, invented: int, withheld: float, correlation: float = 0.0) -> Population:
    """Draw names, facts, which facts are never shown, whose questions are shown, and the pools R, V, U.

    `withheld` is the share of facts that no training text mentions: half of them anywhere, half among the most
    frequent third of the people. `correlation` is the probability with which a person's other attributes follow
    from the town (0: all attributes are independent). Pools are drawn within strata of frequency (thirds) and of
    questions shown.
    """
    names = make_names(people + invented, stream(seed, "names"))
    rng = stream(seed, "facts")
    facts = []
    for _ in range(people):
        town = int(rng.integers(len(ATTRIBUTES[0].values)))
        person = {ATTRIBUTES[0].name: ATTRIBUTES[0].values[town]}
        for attribute in ATTRIBUTES[1:]:
            follows = rng.random() < correlation
            index = town % len(attribute.values) if follows else int(rng.integers(len(attribute.values)))
            person[attribute.name] = attribute.values[index]
        facts.append(person)

    pairs = [(index, attribute.name) for index in range(people) for attribute in ATTRIBUTES]
    count = round(withheld * len(pairs))
    frequent = [pair for pair in pairs if pair[0] < people // 3]
    hidden = {frequent[i] for i in rng.permutation(len(frequent))[: count // 2]}
    rest = [pair for pair in pairs if pair not in hidden]
    hidden |= {rest[i] for i in rng.permutation(len(rest))[: count - len(hidden)]}

    rng = stream(seed, "pools")
    # In each pair of neighbours in frequency one has questions in training and the other has not.
    questions_shown = np.zeros(people, dtype=bool)
    for first in range(0, people - 1, 2):
        questions_shown[first + int(rng.integers(2))] = True
    pools = np.empty(people, dtype=object)
    for third in np.array_split(np.arange(people), 3):
        for shown in (True, False):
            stratum = rng.permutation(third[questions_shown[third] == shown])
            cuts = np.round(np.cumsum(POOL_SHARES) * len(stratum)).astype(int)
            for pool, part in zip(POOLS, np.split(stratum, cuts[:-1]), strict=True):
                pools[part] = pool

    return Population(
        people=tuple(
            Person(
                name=names[index],
                rank=index,
                facts=facts[index],
                shown=frozenset(a.name for a in ATTRIBUTES if (index, a.name) not in hidden),
                questions_shown=bool(questions_shown[index]),
                pool=pools[index],
            )
            for index in range(people)
        ),
        invented=tuple(names[people:]),
    )
