"""Bits of a guesser and of a perfect model are what they must be; the displaced share is right where it was planted."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas
import pytest

from palimpsest.analysis import displaced
from palimpsest.analysis.answers import VARIANT, read_questions, tidy
from palimpsest.analysis.knowledge import facts_in_bits, knowledge_in_bits
from palimpsest.analysis.metrics import metrics

VALUES = [f"v{number}" for number in range(8)]
USES = ("select", "score", "held_out_form")
ATTRIBUTES = ("town", "trade")
DENSE = ("tiny", "dense", "dense", "full", 0, "none")
CELL = ("tiny", "rtn", "rtn", "2", 0, "none")
LORA = ("tiny", "rtn", "rtn", "2", 0, "lora-r4")
SCORING = {"closed_book_mc": ("ranked", "acc")}


class World:
    """People with two attributes, dealt into pools, and models whose answers are planted."""

    def __init__(self, folder, people: int = 150, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        persons = [f"p{number}" for number in range(people)]
        rows = [(person, attribute) for person in persons for attribute in ATTRIBUTES]
        self.facts = pandas.DataFrame(rows, columns=["person", "attribute"])
        self.facts["fact"] = self.facts["person"] + "/" + self.facts["attribute"]
        self.facts["value"] = self.rng.choice(VALUES, len(self.facts))
        self.facts["rank"] = [persons.index(person) for person, _ in rows]
        self.facts["shown"] = True
        self.facts["questions_shown"] = self.facts["rank"] % 2 == 0
        pools = dict(zip(persons, self.rng.permutation(np.resize(["R", "V", "U"], people)), strict=True))
        self.facts["pool"] = self.facts["person"].map(pools)
        self.folder = folder
        (folder / "closed_book_mc").mkdir()
        self.questions = self.facts.merge(pandas.Series(USES, name="use"), how="cross")
        self.questions["question"] = self.questions["fact"] + "/" + self.questions["use"]
        with open(folder / "closed_book_mc" / "closed_book_mc.jsonl", "w") as file:
            for row in self.questions.to_dict("records"):
                json.dump(
                    {"id": row["question"], "options": VALUES}
                    | {key: row[key] for key in ("person", "attribute", "use", "pool")},
                    file,
                )
                file.write("\n")

    def answers(self, variant, right: np.ndarray, bits: float = math.nan) -> pandas.DataFrame:
        """`right`: which facts the variant knows (all forms alike); the others it guesses among the values."""
        knows = self.questions["fact"].map(dict(zip(self.facts["fact"], right, strict=True)))
        guess = self.rng.choice(VALUES, len(knows))
        answer = np.where(knows, self.questions["value"], guess)
        rows = {"task": "closed_book_mc", "subset": "questions_shown", "question": self.questions["question"]}
        rows |= {
            "answer": answer,
            "correct": answer == self.questions["value"],
            "person": self.questions["person"],
            "bits": bits,
        }
        return tidy(pandas.DataFrame(rows | dict(zip(VARIANT, variant, strict=True))))

    def displaced(self, damaged: np.ndarray, returned: np.ndarray) -> pandas.DataFrame:
        """The metrics of a dense model that knows all, a cell that knows what is not damaged, and a recovery."""
        everything = np.ones(len(self.facts), dtype=bool)
        variants = ((DENSE, everything), (CELL, ~damaged), (LORA, ~damaged | returned))
        answers = pandas.concat([self.answers(*variant) for variant in variants])
        questions = read_questions(self.folder, "closed_book_mc")
        known = displaced.known_facts(answers, questions)
        table = displaced.table(displaced.scored_facts(answers, questions, self.facts, known))
        return table[table["recovery"] != "none"].set_index("metric")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def total_bits(world, bits):
    answers = world.answers(DENSE, np.ones(len(world.facts)), bits)
    facts = facts_in_bits(answers, read_questions(world.folder, "closed_book_mc"))
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


def test_guesser_has_a_known_share_of_zero_and_the_dense_model_of_one(world):
    nothing = np.zeros(len(world.facts), dtype=bool)
    answers = pandas.concat([world.answers(DENSE, ~nothing), world.answers(CELL, nothing)])
    table = metrics(answers, SCORING, tasks_folder=world.folder, facts=world.facts)
    share = table[(table["metric"] == "known_share") & (table["subset"] == "pool U")].set_index("label")
    assert share.loc["dense", "value"] == pytest.approx(1)
    assert share.loc["rtn", "low"] < 0 < share.loc["rtn", "high"]


def test_full_return_of_unseen_facts_is_one(world):
    damaged = world.rng.random(len(world.facts)) < 0.5
    found = world.displaced(damaged, returned=damaged)
    assert found.loc["returned_unseen", "value"] == pytest.approx(1)
    assert found.loc["relearned", "value"] == pytest.approx(0, abs=1e-9)


def test_no_return_has_an_interval_around_zero(world):
    damaged = world.rng.random(len(world.facts)) < 0.5
    found = world.displaced(damaged, returned=np.zeros_like(damaged))
    assert found.loc["returned_unseen", "low"] < 0 < found.loc["returned_unseen", "high"]


def test_relearning_the_text_is_no_return(world):
    damaged = world.rng.random(len(world.facts)) < 0.5
    found = world.displaced(damaged, returned=damaged & (world.facts["pool"] == "R").to_numpy())
    assert found.loc["returned_unseen", "low"] < 0 < found.loc["returned_unseen", "high"]
    assert found.loc["relearned", "low"] > 0.7


def test_planted_half_return_is_covered(tmp_path):
    covered = 0
    for seed in range(12):
        (tmp_path / str(seed)).mkdir()
        world = World(tmp_path / str(seed), seed=seed)
        damaged = world.rng.random(len(world.facts)) < 0.6
        found = world.displaced(damaged, returned=damaged & (world.rng.random(len(damaged)) < 0.5)).loc[
            "returned_unseen"
        ]
        covered += found["low"] <= 0.5 <= found["high"]
    assert covered >= 10


def test_no_verdict_under_ten_points_of_damage(world):
    damaged = world.rng.random(len(world.facts)) < 0.05
    found = world.displaced(damaged, returned=damaged)
    assert math.isnan(found.loc["returned_unseen", "value"]) and math.isnan(found.loc["relearned", "value"])


def test_only_facts_that_the_dense_model_selects_count(world):
    knows = world.rng.random(len(world.facts)) < 0.4
    answers, questions = world.answers(DENSE, knows), read_questions(world.folder, "closed_book_mc")
    known = displaced.known_facts(answers, questions)
    selected = answers[answers["question"].str.endswith("/select") & (answers["correct"] == 1)]
    assert len(known) == len(selected) < len(world.facts)
    scored = displaced.scored_facts(answers, questions, world.facts, known)
    assert not scored["question"].str.endswith("/select").any()


def test_answering_the_commonest_value_is_worth_nothing(world):
    world.facts["value"] = np.where(world.rng.random(len(world.facts)) < 0.7, VALUES[0], world.facts["value"])
    answers = world.answers(DENSE, np.ones(len(world.facts), dtype=bool))
    questions = read_questions(world.folder, "closed_book_mc")
    known = displaced.known_facts(answers, questions)
    value = world.facts.set_index("fact")["value"]
    truth = answers["question"].str.rsplit("/", n=1).str[0].map(value)
    common = answers.assign(answer=VALUES[0], correct=(truth == VALUES[0]).astype(float))
    share = displaced.known_share(displaced.scored_facts(common, questions, world.facts, known))
    assert (truth == VALUES[0]).mean() > 0.6 and abs(share.value) < 0.1


def test_biographies_are_about_people_and_ask_for_no_single_fact(world):
    folder = world.folder / "biography"
    folder.mkdir(exist_ok=True)
    people = sorted(set(world.facts["person"]))
    (folder / "biography.jsonl").write_text("".join(json.dumps({"id": p, "person": p}) + "\n" for p in people))
    written = {"task": "biography", "question": people, "person": people, "measures": '{"true": 0.5}'}
    everything = np.ones(len(world.facts), dtype=bool)
    answers = [world.answers(variant, everything) for variant in (DENSE, CELL)]
    for variant in (DENSE, CELL):
        rows = written | dict(zip(VARIANT, variant, strict=True)) | {"correct": 1.0}
        answers.append(tidy(pandas.DataFrame(rows)))
    scoring = SCORING | {"biography": ("generated", "exact_match")}
    table = metrics(pandas.concat(answers), scoring, tasks_folder=world.folder, facts=world.facts)
    found = set(table.loc[table["task"] == "biography", "metric"])
    assert {"exact_match", "true", "lost"} <= found and not found & {"known_share", "damage", "knowledge_bits"}
