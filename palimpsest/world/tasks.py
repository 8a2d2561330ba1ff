"""The world's questions, as rows: closed book, open book, entailment, perplexity, biographies, and the attribute-value
probe. reading.py has those about passages that do not help, contradict, or are long."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

from palimpsest.world.documents import Writer, draw_passage
from palimpsest.world.forms import (
    ATTRIBUTES,
    BY_NAME,
    QUESTION_USE,
    TRAINED_QUESTIONS,
    TRAINED_STATEMENTS,
    parse,
    question,
    statement,
)
from palimpsest.world.people import Person, Population

Row = dict[str, object]


def exposure_subset(person: Person, attribute: str) -> str:
    """How training showed this fact: with questions about its person, without, or not at all."""
    if attribute not in person.shown:
        return "never_shown"
    return "questions_shown" if person.questions_shown else "questions_held_out"


def _closed_book_row(person: Person, attribute, form: int) -> Row:
    return {
        "id": f"{person.name}/{attribute.name}/q{form}",
        "person": person.name,
        "attribute": attribute.name,
        "subset": exposure_subset(person, attribute.name),
        "form": f"{attribute.name}/q{form}",
        "use": QUESTION_USE[form],
        "pool": person.pool,
        "question": question(attribute, form, person.name),
        "answer": person.facts[attribute.name],
        "options": list(attribute.values),
    }


def closed_book(population: Population, rng: random.Random) -> Iterator[Row]:
    """Every fact once, in one of its attribute's two scoring forms."""
    for person in population.people:
        for attribute in ATTRIBUTES:
            yield _closed_book_row(person, attribute, rng.choice((2, 3)))


def closed_book_mc(population: Population, rng: random.Random) -> Iterator[Row]:
    """Every fact in both selecting forms and in one scoring form; one fact in five in the held-out form as well."""
    for person in population.people:
        for attribute in ATTRIBUTES:
            forms = [0, 1, rng.choice((2, 3))] + ([TRAINED_QUESTIONS] if rng.random() < 0.2 else [])
            for form in forms:
                yield _closed_book_row(person, attribute, form)


def open_book(population: Population, rng: random.Random, count: int) -> Iterator[Row]:
    """A passage about one invented person, or about three who share an attribute, and a question about one of them."""
    for subset, people in (("one", 1), ("three", 3)):
        for number in range(count):
            passage = draw_passage(rng, population.invented, people, same_attribute=True)
            name, attribute, _, value = rng.choice(passage.facts)
            form = rng.randrange(TRAINED_QUESTIONS)
            yield {
                "id": f"{subset}/{number}",
                "passage": f"{subset}/{number}",
                "subset": subset,
                "attribute": attribute,
                "form": f"{attribute}/q{form}",
                "question": f"{passage.text} {question(BY_NAME[attribute], form, name)}",
                "answer": value,
                "options": list(BY_NAME[attribute].values),
            }


def entailment(population: Population, rng: random.Random, count: int) -> Iterator[Row]:
    """A passage, a true restatement and a corrupted one; both statements are paraphrases, of equal length.

    `one`: the corrupted value is nowhere in the passage. `two`: it is the other person's, so that neither the
    statement alone nor its overlap with the passage tells which is true.
    """
    for subset, people in (("one", 1), ("two", 2)):
        for number in range(count):
            passage = draw_passage(rng, population.invented, people, same_attribute=True)
            name, attribute, stated, value = rng.choice(passage.facts)
            if people == 1:
                wrong = rng.choice([other for other in BY_NAME[attribute].values if other != value])
            else:
                wrong = next(other for _, _, _, other in passage.facts if other != value)
            form = rng.choice([form for form in range(TRAINED_STATEMENTS) if form != stated])
            yield {
                "id": f"{subset}/{number}",
                "passage": f"{subset}/{number}",
                "subset": subset,
                "form": f"{attribute}/s{form}",
                "premise": f"{passage.text} in short :",
                "true": statement(BY_NAME[attribute], form, name, value),
                "false": statement(BY_NAME[attribute], form, name, wrong),
            }


def entailment_training(population: Population, rng: random.Random, count: int, tested: Iterable[Row]) -> Iterator[Row]:
    """At most `count` rows a subset such as those of `entailment`, to train on: none states the facts of a tested one.

    Each passage comes with both of its statements, so what is learned from statements alone is nothing.
    """
    taken = {_facts(row) for row in tested}
    for row in entailment(population, rng, count):
        if _facts(row) not in taken:
            yield row


def _facts(row: Row) -> frozenset[tuple[str, str, str]]:
    """(name, attribute, value) of what a premise states, in whatever order and form."""
    sentences = re.findall(r"[^.]+ \.", str(row["premise"]))
    return frozenset((found.name, found.attribute, found.value) for found in map(parse, map(str.strip, sentences)))


def perplexity(writer: Writer, rng: random.Random, count: int) -> Iterator[Row]:
    """Unseen documents of three kinds: prose without facts, passages about invented people, biographies."""
    words = {index: word for word, index in writer.ids.items()}
    for subset, draw in (
        ("prose", lambda: writer.prose(rng, 40)),
        ("passages", lambda: writer.passage(rng, rng.randint(1, 3), rng.random() < 0.5, 0.3)),
        ("biographies", lambda: writer.biography(rng.choice(writer.population.people), rng)),
    ):
        for number in range(count):
            text = " ".join(words[index] for index in draw().ids[1:])
            yield {"id": f"{subset}/{number}", "passage": f"{subset}/{number}", "subset": subset, "text": text}


def attribute_value(population: Population) -> Iterator[Row]:
    """One question a shown fact; the probe reads the hidden state at its last token."""
    for person in population.people:
        for attribute in ATTRIBUTES:
            if attribute.name in person.shown:
                yield {
                    "id": f"{person.name}/{attribute.name}",
                    "person": person.name,
                    "attribute": attribute.name,
                    "value": person.facts[attribute.name],
                    "question": question(attribute, 0, person.name),
                }


def biography(population: Population) -> Iterator[Row]:
    """The name with which a biography of each real person begins, and what it may then say.

    `facts` are those that training says: attribute -> value. A biography in training says each of them once, so a
    model is asked for as many statements; what comes after them no training text shows.
    """
    for person in population.people:
        facts = {a.name: person.facts[a.name] for a in ATTRIBUTES if a.name in person.shown}
        if facts:
            yield {
                "id": person.name,
                "person": person.name,
                "begin": person.name,
                "answer": " ".join(statement(BY_NAME[name], 0, person.name, value) for name, value in facts.items()),
                "facts": facts,
            }
