"""facts.parquet says enough for another estimator: the project's own can be made again from it alone."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from planted_answers import CELL, DENSE, LORA, SCORING, SWAPPED, TASK, World

from palimpsest.analysis import benchmark, returns
from palimpsest.analysis.answers import VARIANT, read_questions
from palimpsest.analysis.arms import Arm
from palimpsest.analysis.planted import Plant

ARMS = {LORA[-1]: Arm(twin=SWAPPED[-1]), SWAPPED[-1]: Arm(seen="U", unseen="R")}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.facts["values"] = 8
    return world


def tables(world, plants=()):
    lost = world.rng.random(len(world.facts)) < 0.5
    answers = pandas.concat([
        world.answers(DENSE, np.full(len(lost), 0.9)), world.answers(CELL, ~lost),
        world.answers(LORA, np.where(lost, 0.6, 1.0)), world.answers(SWAPPED, np.where(lost, 0.2, 1.0)),
    ])  # fmt: skip
    asked = {TASK: (answers, read_questions(world.folder, TASK))}
    return benchmark.table(asked, SCORING, world.facts, False, ARMS, plants), world.scored(answers)


def test_every_question_of_every_variant_has_a_row_and_every_column_is_described(world):
    found, _ = tables(world)
    assert len(found) == 4 * len(world.questions) and list(found.columns) == list(benchmark.COLUMNS)
    described = benchmark.description("test", found)
    assert all(f"| `{name}` | " in described for name in found.columns)
    assert f"{len(found):,} rows" in described
    assert dict(found.groupby("recovery", observed=True)["seen"].first()) == {
        "none": "", "lora-r4": "R", "lora-r4-swapped": "U"
    }  # fmt: skip


def test_the_estimate_can_be_made_again_from_the_table_alone(world):
    found, scored = tables(world)
    mine = returns.table({"R": scored, "U": scored}, ARMS)
    mine = mine[(mine["metric"] == "returned_unseen") & (mine["subset"] == "all")].set_index("recovery")["value"]
    use = found[found["known"] & (found["use"] != "select")]
    truth = found[found["correct"] == 1].groupby(["person", "attribute"], observed=True)["chance"].first()
    room = 1 - use[["person", "attribute"]].merge(truth.reset_index())["chance"].to_numpy()
    use = use.assign(above=use["correct"] - use["chance"], room=room)
    folds = []
    for recovery, pool in (("lora-r4", "U"), ("lora-r4-swapped", "R")):
        sums = use[use["pool"] == pool].groupby(["label", "recovery"], observed=True)[["above", "room"]].sum()
        dense, cell, recovered = (sums["above"] / sums["room"])[[("dense", "none"), ("rtn", "none"), ("rtn", recovery)]]
        folds.append((recovered - cell) / (dense - cell))
    assert mine["lora-r4"] == pytest.approx(np.mean(folds))


def test_planted_models_say_what_is_erased(world):
    people = sorted(set(world.facts["person"]))
    found, _ = tables(world, [Plant("tiny", "tiny", "other", frozenset(people[:40]))])
    erased = found["person"].isin(people[:40])
    assert set(found.loc[erased, "planted"]) == {"erased"} and set(found.loc[~erased, "planted"]) == {"displaced"}


def test_the_table_is_the_same_bytes_each_time_and_reads_back(world, tmp_path):
    found, _ = tables(world)
    benchmark.write(tmp_path, "test", found)
    first = (tmp_path / "facts.parquet").read_bytes()
    benchmark.write(tmp_path, "test", found)
    assert (tmp_path / "facts.parquet").read_bytes() == first and (tmp_path / "facts.md").exists()
    assert pandas.read_parquet(tmp_path / "facts.parquet")[VARIANT].drop_duplicates().shape[0] == 4
