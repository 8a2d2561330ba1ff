"""The texts that the reference models read: one document a row, never packed.

Kinds: biographies of real people, questions about those real people whose questions are shown, passages about
invented people with questions and restatements, and prose without facts. A document is a list of token ids with a
weight each: what nobody can predict (the invented names and values inside a passage, where they are stated) weighs
little. Weights say where to look and leave the optimum where it is: each position's best prediction is unchanged.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from palimpsest.world.forms import ATTRIBUTES, BY_NAME, TRAINED_QUESTIONS, TRAINED_STATEMENTS, question, statement
from palimpsest.world.people import Person, Population
from palimpsest.world.prose import Grammar
from palimpsest.world.tokenizer import BOS

NAME, VALUE = "{n}", "{v}"


@dataclass
class Document:
    ids: list[int] = field(default_factory=lambda: [BOS])
    weights: list[float] = field(default_factory=lambda: [1.0])


@dataclass(frozen=True)
class Passage:
    """What a passage about invented people says: (name, attribute, statement form, value), in order."""

    facts: tuple[tuple[str, str, int, str], ...]

    @property
    def text(self) -> str:
        return " ".join(statement(BY_NAME[attribute], form, name, value) for name, attribute, form, value in self.facts)


def draw_passage(rng: random.Random, names: tuple[str, ...], people: int, same_attribute: bool) -> Passage:
    """A passage about `people` invented people: one fact each about one attribute, or one to three facts each."""
    chosen = rng.sample(names, people)
    if same_attribute:
        attribute = rng.choice(ATTRIBUTES)
        values = rng.sample(attribute.values, people)
        pairs = list(zip(chosen, [attribute] * people, values, strict=True))
    else:
        most = max(1, 4 // people)
        pairs = [
            (name, attribute, rng.choice(attribute.values))
            for name in chosen
            for attribute in rng.sample(ATTRIBUTES, rng.randint(1, most))
        ]
        rng.shuffle(pairs)
    return Passage(tuple((n, a.name, rng.randrange(TRAINED_STATEMENTS), v) for n, a, v in pairs))


class Writer:
    """Writes training documents about a population, as token ids."""

    def __init__(
        self, population: Population, vocabulary: list[str], zipf_offset: float, unpredictable_weight: float
    ) -> None:
        self.ids = {word: index for index, word in enumerate(vocabulary)}
        self.population = population
        self.cumulative = np.cumsum(population.weights(zipf_offset))
        self.asked = [p for p in population.people if p.questions_shown]
        weights = population.weights(zipf_offset)[[p.rank for p in self.asked]]
        self.asked_cumulative = np.cumsum(weights / weights.sum())
        self.low = unpredictable_weight
        self.exposures: Counter[tuple[str, str]] = Counter()  # (person, attribute) -> times stated or answered
        self.words = vocabulary

    def text(self, document: Document) -> str:
        """The document as words, without its `<bos>`."""
        return " ".join(self.words[index] for index in document.ids[1:])

    def add(self, document: Document, text: str, weight: float = 1.0) -> None:
        tokens = [self.ids[word] for word in text.split()]
        document.ids += tokens
        document.weights += [weight] * len(tokens)

    def stated(self, document: Document, form: str, name: str, value: str) -> None:
        """A statement whose name and value nobody can predict."""
        for word in form.split():
            known = word not in (NAME, VALUE)
            document.ids.append(self.ids[word if known else name if word == NAME else value])
            document.weights.append(1.0 if known else self.low)

    def biography(self, person: Person, rng: random.Random) -> Document:
        document = Document()
        for attribute in rng.sample(ATTRIBUTES, len(ATTRIBUTES)):
            if attribute.name in person.shown:
                form = rng.randrange(TRAINED_STATEMENTS)
                self.add(document, statement(attribute, form, person.name, person.facts[attribute.name]))
                self.exposures[person.name, attribute.name] += 1
        return document

    def questions(self, person: Person, rng: random.Random, count: int = 3) -> Document:
        document = Document()
        shown = [attribute for attribute in ATTRIBUTES if attribute.name in person.shown]
        for attribute in rng.sample(shown, min(count, len(shown))):
            form = rng.randrange(TRAINED_QUESTIONS)
            self.add(document, f"{question(attribute, form, person.name)} {person.facts[attribute.name]} .")
            self.exposures[person.name, attribute.name] += 1
        return document

    def passage(self, rng: random.Random, people: int, same_attribute: bool, restated: float) -> Document:
        passage = draw_passage(rng, self.population.invented, people, same_attribute)
        document = Document()
        for name, attribute, form, value in passage.facts:
            self.stated(document, BY_NAME[attribute].statements[form], name, value)
        for name, attribute, _, value in rng.sample(passage.facts, len(passage.facts)):
            if rng.random() < restated:
                text = f"in short : {statement(BY_NAME[attribute], rng.randrange(TRAINED_STATEMENTS), name, value)}"
            else:
                text = f"{question(BY_NAME[attribute], rng.randrange(TRAINED_QUESTIONS), name)} {value} ."
            # Whom a question is about cannot be predicted either.
            for word in text.split():
                document.ids.append(self.ids[word])
                document.weights.append(self.low if word == name else 1.0)
        return document

    def prose(self, rng: random.Random, words: int) -> Document:
        document = Document()
        self.add(document, Grammar(rng).paragraph(words))
        return document

    def person(self, rng: random.Random) -> Person:
        return self.population.people[int(np.searchsorted(self.cumulative, rng.random()))]

    def asked_person(self, rng: random.Random) -> Person:
        return self.asked[min(int(np.searchsorted(self.asked_cumulative, rng.random())), len(self.asked) - 1)]
