"""Questions after a passage that does not help, that contradicts what was learned, or that is long.

Passages are about invented people unless they contradict: then one is real. No value that a passage says is the one
that training said, so that an answer tells where it comes from (`sources`: evaluation/scorers/sources.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest.world.forms import ATTRIBUTES, TRAINED_QUESTIONS, TRAINED_STATEMENTS, Attribute, question, statement
from palimpsest.world.people import Person, Population
from palimpsest.world.prose import Grammar

if TYPE_CHECKING:
    from palimpsest.world.tasks import Row

SIZES = (("one", 1), ("three", 3))  # subset -> people in its passages
PEOPLE = (1, 2, 4, 8, 12)  # in the passages of each length; there are 12 colours, and no two people share a value
WORDS = (16, 32, 64)  # of prose around a passage about one person
ANSWER = 4  # tokens that are left for the answer


def absent(population: Population, rng: random.Random, count: int) -> Iterator[Row]:
    """A passage about invented people and a question about another invented person, of whom nothing is known.

    No value is right, and training shows no way to say so. A row's answer is "unknown", which is none of the options.
    """
    for subset, people in SIZES:
        for number in range(count):
            attribute = rng.choice(ATTRIBUTES)
            *names, asked = rng.sample(population.invented, people + 1)
            values = rng.sample(attribute.values, people)
            passage = _passage(rng, attribute, names, values)
            row = _row(rng, f"{subset}/{number}", subset, attribute, passage, asked, "unknown")
            yield row | {"passage": row["id"], "sources": {"copied": values}}


def distracted(population: Population, rng: random.Random, count: int) -> Iterator[Row]:
    """A passage about invented people and a question about a real person, of whom what was learned is right."""
    facts = shown_facts(population)
    for subset, people in SIZES:
        for number, (person, attribute) in enumerate(rng.sample(facts, min(count, len(facts)))):
            learned = person.facts[attribute.name]
            values = rng.sample(_others(attribute, learned), people)
            passage = _passage(rng, attribute, rng.sample(population.invented, people), values)
            row = _row(rng, f"{subset}/{number}", subset, attribute, passage, person.name, learned)
            yield row | {"passage": person.name, "sources": {"copied": values}}


def contradiction(population: Population, rng: random.Random, count: int) -> Iterator[Row]:
    """A passage that says another value of a real person than training did, alone or among invented people.

    The passage is right: its value is the answer. Questions about one person are grouped by the name, as `passage`:
    they do not ask about the person's facts.
    """
    facts = shown_facts(population)
    for subset, people in SIZES:
        for number, (person, attribute) in enumerate(rng.sample(facts, min(count, len(facts)))):
            learned = person.facts[attribute.name]
            said, *others = rng.sample(_others(attribute, learned), people)
            names = [person.name, *rng.sample(population.invented, people - 1)]
            passage = _passage(rng, attribute, names, [said, *others])
            row = _row(rng, f"{subset}/{number}", subset, attribute, passage, person.name, said)
            yield row | {"passage": person.name, "sources": {"learned": [learned], "copied": others}}


def length(population: Population, rng: random.Random, count: int, context: int) -> Iterator[Row]:
    """The same question after passages of growing length, as long as the context: subsets `people=1`, …, `words=64`.

    In `people=8` the passage of `people=4` has four more people with the same attribute: more to confuse. In
    `words=64` the one statement of `people=1` lies in so many words of prose: nothing to confuse. What differs between
    the lengths is the length alone: `passage` is the same for all of a question's.
    """
    for number in range(count):
        attribute = rng.choice(ATTRIBUTES)
        form = rng.randrange(TRAINED_QUESTIONS)
        room = context - ANSWER - 1  # and the token that begins every text
        names = rng.sample(population.invented, PEOPLE[-1])
        values = rng.sample(attribute.values, PEOPLE[-1])
        asked = question(attribute, form, names[0])
        statements = _statements(rng, attribute, names, values)
        while len(" ".join([*statements, asked]).split()) > room:
            statements = _statements(rng, attribute, names, values)
        order = rng.sample(range(PEOPLE[-1]), PEOPLE[-1])
        passages = {f"people={most}": [statements[i] for i in order if i < most] for most in PEOPLE}
        for words in WORDS:
            prose = _prose(rng, words)
            prose.insert(rng.randint(0, len(prose)), statements[0])
            passages[f"words={words}"] = prose
        for subset, passage in passages.items():
            yield {
                "id": f"{subset}/{number}",
                "passage": str(number),
                "subset": subset,
                "attribute": attribute.name,
                "form": f"{attribute.name}/q{form}",
                "question": f"{' '.join(passage)} {asked}",
                "answer": values[0],
                "options": list(attribute.values),
            }


def shown_facts(population: Population) -> list[tuple[Person, Attribute]]:
    """Every fact that training says."""
    return [(person, a) for person in population.people for a in ATTRIBUTES if a.name in person.shown]


def _others(attribute: Attribute, value: str) -> list[str]:
    return [other for other in attribute.values if other != value]


def _statements(rng: random.Random, attribute: Attribute, names: list[str], values: list[str]) -> list[str]:
    return [
        statement(attribute, rng.randrange(TRAINED_STATEMENTS), name, value)
        for name, value in zip(names, values, strict=True)
    ]


def _passage(rng: random.Random, attribute: Attribute, names: list[str], values: list[str]) -> str:
    statements = _statements(rng, attribute, names, values)
    return " ".join(rng.sample(statements, len(statements)))


def _prose(rng: random.Random, words: int) -> list[str]:
    """Sentences of about so many words in all."""
    return [f"{sentence.strip()} ." for sentence in Grammar(rng).paragraph(words).split(".") if sentence.strip()]


def _row(
    rng: random.Random, identity: str, subset: str, attribute: Attribute, passage: str, name: str, answer: str
) -> Row:
    form = rng.randrange(TRAINED_QUESTIONS)
    return {
        "id": identity,
        "subset": subset,
        "attribute": attribute.name,
        "form": f"{attribute.name}/q{form}",
        "question": f"{passage} {question(attribute, form, name)}",
        "answer": answer,
        "options": list(attribute.values),
    }
