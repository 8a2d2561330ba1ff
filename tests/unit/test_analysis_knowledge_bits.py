"""Bits of a guesser and of a perfect model are what they must be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from planted_answers import DENSE, TASK, VALUES, World

from palimpsest.analysis.answers import read_questions
from palimpsest.analysis.knowledge_bits import facts_in_bits, knowledge_in_bits


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def total_bits(world, bits):
    answers = world.answers(DENSE, np.ones(len(world.facts)), bits)
    facts = facts_in_bits(answers, read_questions(world.folder, TASK))
    return {row["metric"]: row["value"] for row in knowledge_in_bits(facts, parameters=1000, size=4000)}


def test_a_uniform_guesser_knows_zero_bits(world):
    assert total_bits(world, -math.log2(len(VALUES)))["knowledge_bits"] == pytest.approx(0)


def test_a_perfect_model_knows_the_logarithm_of_the_values(world):
    found = total_bits(world, 0.0)
    assert found["knowledge_bits_per_fact"] == pytest.approx(math.log2(len(VALUES)))
    assert found["knowledge_bits"] == pytest.approx(300 * 3)
    assert found["knowledge_bits_per_parameter"] == pytest.approx(0.9)
    assert found["knowledge_bits_per_byte"] == pytest.approx(0.225)


def test_a_sure_and_wrong_model_knows_less_than_nothing(world):
    assert total_bits(world, -10.0)["knowledge_bits"] < 0
