"""A world of people with facts, and models whose answers are planted, for the tests of what is known and displaced."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas

from palimpsest.analysis import chance, knowledge
from palimpsest.analysis.answers import VARIANT, read_questions, tidy
from palimpsest.analysis.knowledge import Fold

VALUES = [f"v{number}" for number in range(8)]
USES = ("select", "score", "held_out_form")
ATTRIBUTES = ("town", "trade")
DENSE = ("tiny", "dense", "dense", "full", 0, "none")
CELL = ("tiny", "rtn", "rtn", "2", 0, "none")
LORA = ("tiny", "rtn", "rtn", "2", 0, "lora-r4")
SWAPPED = ("tiny", "rtn", "rtn", "2", 0, "lora-r4-swapped")
TASK = "closed_book_mc"
SCORING = {TASK: ("ranked", "acc")}


class World:
    """People with two attributes, dealt into pools. With `correlation`, the trade follows from the town so often."""

    def __init__(self, folder: Path, people: int = 150, seed: int = 0, correlation: float = 0.0):
        self.rng = np.random.default_rng(seed)
        persons = [f"p{number}" for number in range(people)]
        rows = [(person, attribute) for person in persons for attribute in ATTRIBUTES]
        self.facts = pandas.DataFrame(rows, columns=["person", "attribute"])
        self.facts["fact"] = self.facts["person"] + "/" + self.facts["attribute"]
        values = self.rng.choice(VALUES, len(self.facts)).reshape(people, 2)
        values[:, 1] = np.where(self.rng.random(people) < correlation, values[:, 0], values[:, 1])
        self.facts["value"] = values.ravel()
        self.facts["rank"] = [persons.index(person) for person, _ in rows]
        self.facts["exposures"] = 1000 // (self.facts["rank"] + 10)
        self.facts["shown"] = True
        self.facts["questions_shown"] = self.facts["rank"] % 2 == 0
        pools = dict(zip(persons, self.rng.permutation(np.resize(["R", "V", "U"], people)), strict=True))
        self.facts["pool"] = self.facts["person"].map(pools)
        self.folder = folder
        self.questions = self.facts.merge(pandas.Series(USES, name="use"), how="cross")
        self.questions["question"] = self.questions["fact"] + "/" + self.questions["use"]
        self.write(TASK)

    def write(self, task: str) -> None:
        (self.folder / task).mkdir(parents=True, exist_ok=True)
        with open(self.folder / task / f"{task}.jsonl", "w") as file:
            for row in self.questions.to_dict("records"):
                kept = {key: row[key] for key in ("person", "attribute", "use", "pool")}
                file.write(json.dumps({"id": row["question"], "options": VALUES} | kept) + "\n")

    def in_pool(self, *pools: str) -> np.ndarray:
        return self.facts["pool"].isin(pools).to_numpy()

    def answers(self, variant: tuple, knows: np.ndarray, bits: float = math.nan, task: str = TASK) -> pandas.DataFrame:
        """`knows`: with which probability each fact is known, at each question anew; else the value is guessed."""
        chance_of = self.questions["fact"].map(dict(zip(self.facts["fact"], np.asarray(knows, float), strict=True)))
        right = self.rng.random(len(chance_of)) < chance_of
        answer = np.where(right, self.questions["value"], self.rng.choice(VALUES, len(right)))
        return self.answered(variant, answer, bits, task)

    def answered(self, variant: tuple, answer, bits: float = math.nan, task: str = TASK) -> pandas.DataFrame:
        rows = {"task": task, "subset": "questions_shown", "answer": answer, "bits": bits}
        rows |= {name: self.questions[name] for name in ("question", "person")}
        rows["correct"] = answer == self.questions["value"]
        return tidy(pandas.DataFrame(rows | dict(zip(VARIANT, variant, strict=True))))

    def scored(self, answers: pandas.DataFrame, chances: pandas.DataFrame | None = None) -> pandas.DataFrame:
        questions = read_questions(self.folder, TASK)
        known = knowledge.known_facts(answers, questions)
        chances = chance.by_stratum(self.facts) if chances is None else chances
        return knowledge.scored_facts(answers, questions, self.facts, known, chances)

    def fold(self, cell, recovered, dense=1.0, **pools) -> Fold:
        """Models that know each fact with these probabilities."""
        variants = {DENSE: dense, CELL: cell, LORA: recovered}
        answers = [self.answers(name, np.broadcast_to(knows, len(self.facts))) for name, knows in variants.items()]
        groups = dict(list(self.scored(pandas.concat(answers)).groupby(VARIANT)))
        return Fold(*(groups[name] for name in variants), **pools)


def quick_fold(rng: np.random.Generator, returns: float, people: int = 150, **pools) -> Fold:
    """Four questions on each person; six in ten are lost, all of a person's or none as often as not, and `returns` of
    the lost come back. Each unknown answer is right by chance one time in eight."""
    person = np.repeat(np.arange(people), 4)
    together = rng.random(people)[person] < 0.5
    lost = np.where(together, rng.random(people)[person], rng.random(len(person))) < 0.6
    back = lost & (rng.random(len(person)) < returns)
    frame = pandas.DataFrame({"person": person, "pool": np.array(["R", "V", "U"])[person % 3], "room": 7 / 8})

    def rows(knows: np.ndarray) -> pandas.DataFrame:
        return frame.assign(above=np.where(knows, 1.0, rng.random(len(person)) < 1 / 8) - 1 / 8)

    return Fold(rows(np.full(len(person), True)), rows(~lost), rows(~lost | back), **pools)
