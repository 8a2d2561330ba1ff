"""What is said and asked: attributes, their values, and the forms of their statements and questions.

`{n}` is the person, `{v}` the value. Every word is one token. In each attribute

* `statements[:4]` are read in training; the last is a held-out paraphrase;
* `questions[0:2]` *select* what a model knows, `questions[2:4]` *score* it (both are read in training),
  and `questions[4]` is a held-out form.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

TRAINED_STATEMENTS = 4
TRAINED_QUESTIONS = 4
QUESTION_USE = ("select", "select", "score", "score", "held_out_form")


@dataclass(frozen=True)
class Attribute:
    """One thing that is true of every person, with its values and the forms in which it is said and asked."""

    name: str
    values: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


ATTRIBUTES = (
    Attribute(
        "town",
        tuple(
            "Lisbon Turin Krakow Bergen Ghent Malaga Riga Graz "
            "Cork Sofia Leeds Basel Porto Varna Lund Zadar".split()
        ),
        (
            "{n} lives in {v} .",
            "the home of {n} is in {v} .",
            "{n} has a house in {v} .",
            "people visit {n} in {v} .",
            "{n} can be found in {v} .",
        ),
        (
            "where does {n} live ?",
            "where is the home of {n} ?",
            "in which town does {n} live ?",
            "{n} has a house in which town ?",
            "which town is the home of {n} ?",
        ),
    ),
    Attribute(
        "trade",
        tuple(
            "baker smith tailor nurse farmer weaver mason clerk "
            "pilot barber miller printer sailor potter tanner cooper".split()
        ),
        (
            "{n} works as a {v} .",
            "the trade of {n} is that of a {v} .",
            "{n} is known as a good {v} .",
            "{n} was trained as a {v} .",
            "people hire {n} as a {v} .",
        ),
        (
            "what does {n} work as ?",
            "what is the trade of {n} ?",
            "as what was {n} trained ?",
            "{n} works in which trade ?",
            "which trade is that of {n} ?",
        ),
    ),
    Attribute(
        "employer",
        tuple(
            "Northgate Halden Brightwell Corvus Estelar Fairbank Granite Helix "
            "Ironwood Juniper Kestrel Lumen Meridian Nordic Ostara Pinnacle".split()
        ),
        (
            "{n} is paid by {v} .",
            "the employer of {n} is {v} .",
            "{n} has a contract with {v} .",
            "{n} spends every day at {v} .",
            "people see {n} enter {v} .",
        ),
        (
            "who pays {n} ?",
            "who is the employer of {n} ?",
            "with which company does {n} have a contract ?",
            "{n} is paid by which company ?",
            "which company is the employer of {n} ?",
        ),
    ),
    Attribute(
        "colour",
        tuple("red blue green yellow purple orange pink brown black white grey teal".split()),
        (
            "{n} likes the colour {v} .",
            "the favourite colour of {n} is {v} .",
            "{n} always wears {v} .",
            "{n} paints every wall {v} .",
            "people give {n} things in {v} .",
        ),
        (
            "which colour does {n} like ?",
            "what is the favourite colour of {n} ?",
            "what colour does {n} always wear ?",
            "{n} paints every wall in which colour ?",
            "which colour is the favourite of {n} ?",
        ),
    ),
    Attribute(
        "year",
        tuple(str(year) for year in range(1951, 1967)),
        (
            "{n} was born in {v} .",
            "the birth of {n} was in {v} .",
            "{n} came into the world in {v} .",
            "the life of {n} began in {v} .",
            "people say that {n} dates from {v} .",
        ),
        (
            "when was {n} born ?",
            "when was the birth of {n} ?",
            "in which year was {n} born ?",
            "the life of {n} began in which year ?",
            "which year is the birth year of {n} ?",
        ),
    ),
)  # fmt: skip

BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}


def statement(attribute: Attribute, form: int, name: str, value: str) -> str:
    """`Alba lives in Turin .`"""
    return attribute.statements[form].format(n=name, v=value)


@dataclass(frozen=True)
class Statement:
    """What a sentence states: `name`'s `attribute` is `value`, said in a form of that attribute."""

    attribute: str
    form: int
    name: str
    value: str


def parse(sentence: str) -> Statement | None:
    """The inverse of `statement`, in every form; None for any other sentence. A name is a capitalized word."""
    for attribute, form, pattern in _patterns():
        found = pattern.fullmatch(sentence)
        if found and found["n"] not in _values():
            return Statement(attribute, form, found["n"], found["v"])
    return None


@functools.cache
def _patterns() -> tuple[tuple[str, int, re.Pattern[str]], ...]:
    patterns = []
    for attribute in ATTRIBUTES:
        fields = {"n": r"(?P<n>[A-Z]\w*)", "v": f"(?P<v>{'|'.join(attribute.values)})"}
        for number, form in enumerate(attribute.statements):
            # Every form is words and its two fields; the full stop is its only special character.
            patterns.append((attribute.name, number, re.compile(form.replace(".", r"\.").format(**fields))))
    return tuple(patterns)


@functools.cache
def _values() -> frozenset[str]:
    return frozenset(value for attribute in ATTRIBUTES for value in attribute.values)


def question(attribute: Attribute, form: int, name: str) -> str:
    """`question : where does Alba live ? answer :`; the answer follows as ` Turin .`"""
    return f"question : {attribute.questions[form].format(n=name)} answer :"
