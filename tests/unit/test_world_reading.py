"""Passages that do not help, that contradict, and that are long; and a grammar that reads what it writes."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from palimpsest.world import reading
from palimpsest.world.build import CONTEXT
from palimpsest.world.forms import ATTRIBUTES, BY_NAME, Statement, parse, statement
from palimpsest.world.people import populate
from palimpsest.world.prose import Grammar
from palimpsest.world.tasks import biography

POPULATION = populate(0, 40, 40, 0.1)
PEOPLE = {person.name: person for person in POPULATION.people}
COUNT = 60


def split(row):
    """The statements of a row's passage, and the words of its question."""
    passage, question = row["question"].split(" question : ")
    return [parse(f"{sentence.strip()} .") for sentence in passage.split(".") if sentence.strip()], question.split()


def rows_of(task, *more):
    return list(task(POPULATION, random.Random("reading"), COUNT, *more))


def test_the_grammar_reads_every_form_that_it_writes():
    for attribute in ATTRIBUTES:
        for form in range(len(attribute.statements)):
            for value in attribute.values:
                found = parse(statement(attribute, form, "Alba", value))
                assert found == Statement(attribute.name, form, "Alba", value)


@pytest.mark.parametrize(
    "sentence",
    [
        "Alba lives in baker .",  # a value of another attribute
        "Alba lives in Turin",  # not finished
        "Alba lives in Turin . Alba was born in 1951 .",
        "the lives in Turin .",
        "Turin lives in Turin .",  # a value is no name
        "Alba lives in Atlantis .",
        "Alba was born in Turin .",
    ],
)
def test_the_grammar_refuses_what_it_cannot_have_written(sentence):
    assert parse(sentence) is None


def test_prose_states_nothing_about_anybody():
    grammar = Grammar(random.Random(0))
    assert not any(parse(grammar.sentence()) for _ in range(300))


def test_an_absent_name_is_nowhere_in_the_passage_and_no_value_is_right():
    for row in rows_of(reading.absent):
        statements, question = split(row)
        asked = [word for word in question if word in POPULATION.invented]
        assert len(asked) == 1 and asked[0] not in [found.name for found in statements]
        assert sorted(found.value for found in statements) == sorted(row["sources"]["copied"])
        assert row["answer"] == "unknown" and row["answer"] not in row["options"]
        assert len(statements) == {"one": 1, "three": 3}[row["subset"]]


def test_a_distracting_passage_never_says_the_learned_value():
    for row in rows_of(reading.distracted):
        statements, question = split(row)
        person = next(PEOPLE[word] for word in question if word in PEOPLE)
        assert row["answer"] == person.facts[row["attribute"]] and row["attribute"] in person.shown
        assert row["answer"] not in [found.value for found in statements]
        assert {found.name for found in statements} <= set(POPULATION.invented)


def test_a_contradicting_passage_says_another_value_than_was_learned():
    for row in rows_of(reading.contradiction):
        statements, question = split(row)
        person = next(PEOPLE[word] for word in question if word in PEOPLE)
        said = {found.name: found.value for found in statements}
        assert row["attribute"] in person.shown and row["sources"]["learned"] == [person.facts[row["attribute"]]]
        assert row["answer"] == said.pop(person.name) and row["sources"]["learned"][0] not in said.values()
        assert row["answer"] not in row["sources"]["learned"]
        assert sorted(said.values()) == sorted(row["sources"]["copied"])
        assert row["passage"] == person.name and "person" not in row


def test_no_fact_contradicts_twice_in_a_subset():
    facts = Counter((row["subset"], row["passage"], row["attribute"]) for row in rows_of(reading.contradiction))
    assert set(facts.values()) == {1}


def test_a_longer_passage_is_the_shorter_one_and_more():
    by_passage = defaultdict(dict)
    for row in rows_of(reading.length, CONTEXT):
        by_passage[row["passage"]][row["subset"]] = row
    for rows in by_passage.values():
        assert len({(row["answer"], row["form"], row["question"].split("question :")[1]) for row in rows.values()}) == 1
        passages = {subset: row["question"].split(" question :")[0] for subset, row in rows.items()}
        needle = passages["people=1"]
        for most, fewer in zip(reading.PEOPLE[1:], reading.PEOPLE, strict=False):
            longer = [sentence.strip() for sentence in passages[f"people={most}"].split(".")]
            shorter = [sentence.strip() for sentence in passages[f"people={fewer}"].split(".")]
            assert [sentence for sentence in longer if sentence in shorter] == shorter
        lengths = [len(passages[f"words={words}"].split()) for words in reading.WORDS]
        assert all(needle in passages[f"words={words}"] for words in reading.WORDS) and sorted(lengths) == lengths


def test_the_longest_passages_fit_the_context_and_nearly_fill_it():
    lengths = [len(row["question"].split()) for row in rows_of(reading.length, CONTEXT)]
    assert 0.8 * CONTEXT < max(lengths) <= CONTEXT - reading.ANSWER - 1


def test_every_length_has_one_right_value_among_different_ones():
    for row in rows_of(reading.length, CONTEXT):
        values = [word for word in row["question"].split() if word in row["options"]]
        assert values.count(row["answer"]) == 1 and len(set(values)) == len(values)
        assert len(values) == int(row["subset"].split("=")[1]) or row["subset"].startswith("words=")


def test_a_biography_may_say_what_training_said():
    for row in biography(POPULATION):
        assert row["facts"] == {name: PEOPLE[row["id"]].facts[name] for name in row["facts"]}
        assert set(row["facts"]) == PEOPLE[row["id"]].shown
        said = [parse(f"{sentence.strip()} .") for sentence in row["answer"].split(".")[:-1]]
        assert {found.attribute: found.value for found in said} == row["facts"]
    longest = sum(max(len(form.split()) for form in BY_NAME[name].statements) for name in BY_NAME)
    assert longest <= 48, "what evaluation/tasks/biography.yaml lets a model write"
