"""A probe that reads planted values of unsaid facts is seen to, and one that guesses is not."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from planted_answers import CELL, DENSE, TASK, VALUES, World

from palimpsest.analysis import knowledge
from palimpsest.analysis.answers import VARIANT, read_questions
from palimpsest.analysis.unsaid import unsaid


def probed(world, read: float, knows: float = 0.3) -> pandas.DataFrame:
    """The rows of a cell that says `knows` of the facts, where a probe reads the share `read` of all."""
    sure = world.rng.random(len(world.facts)) < knows
    answers = [world.answers(DENSE, np.ones(len(sure)))]
    said = np.where(
        world.questions["fact"].map(dict(zip(world.facts["fact"], sure, strict=True))), world.questions["value"], "no"
    )
    answers = pandas.concat([*answers, world.answered(CELL, said)])
    right = world.rng.random(len(sure)) < read
    probe = world.facts[["person", "attribute", "value"]].assign(task="attribute_value", layer=4)
    probe["said"] = np.where(right, probe["value"], world.rng.choice(VALUES, len(right)))
    probe = probe.assign(**dict(zip(VARIANT, CELL, strict=True)))
    questions = read_questions(world.folder, TASK)
    found = unsaid(answers, questions, knowledge.known_facts(answers, questions), probe)
    assert set(found["n"]) == {int((~sure).sum())}
    return found.set_index("metric")


def test_what_a_probe_reads_of_the_unsaid_is_found(tmp_path):
    found = probed(World(tmp_path), read=0.6)
    assert found.loc["unsaid_read", "low"] < 0.6 + 0.4 / 8 < found.loc["unsaid_read", "high"]
    assert found.loc["unsaid_chance", "value"] == pytest.approx(1 / 8, abs=0.03)
    assert set(found["subset"]) == {"layer 4"} and set(found["layer"]) == {"4"}


def test_a_probe_that_reads_nothing_is_at_its_chance(tmp_path):
    found = probed(World(tmp_path), read=0.0)
    assert found.loc["unsaid_read", "low"] < found.loc["unsaid_chance", "value"] < found.loc["unsaid_read", "high"]


def test_a_variant_that_says_everything_has_no_row(tmp_path):
    world = World(tmp_path)
    answers = world.answers(DENSE, np.ones(len(world.facts)))
    questions = read_questions(world.folder, TASK)
    probe = world.facts[["person", "attribute", "value"]].assign(task="attribute_value", layer=4, said="x")
    probe = probe.assign(**dict(zip(VARIANT, DENSE, strict=True)))
    assert unsaid(answers, questions, knowledge.known_facts(answers, questions), probe).empty
