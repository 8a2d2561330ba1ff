"""The metrics of recoveries: folds, exposures, what is reported apart, and what stands on the dense model."""

from __future__ import annotations

import itertools

import numpy as np
import pandas
import pytest
from planted_answers import CELL, DENSE, LORA, SCORING, SWAPPED, TASK, World

from palimpsest.analysis import about_facts, returns
from palimpsest.analysis.answers import VARIANT, read_questions
from palimpsest.analysis.arms import CONSULTS, MASKED, OTHER, TEXT, UNTRAINED, Arm, arms
from palimpsest.analysis.knowledge import Fold, returned
from palimpsest.analysis.metrics import metrics
from palimpsest.grid import Grid
from palimpsest.settings import ATLAS, Study

EORA = (*CELL[:-1], "eora-r4")
ON_DENSE = (*DENSE[:-1], "lora-r4")
ARMS = {
    LORA[-1]: Arm(twin=SWAPPED[-1]),
    SWAPPED[-1]: Arm(seen="U", unseen="R"),
    EORA[-1]: Arm(name=CONSULTS),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"), people=300)
    lost = world.rng.random(len(world.facts)) < 0.5
    knows = {
        DENSE: 1.0, CELL: ~lost, LORA: np.where(lost, 0.8, 1.0), SWAPPED: np.where(lost, 0.2, 1.0), EORA: 1.0,
        ON_DENSE: 0.7,
    }  # fmt: skip
    answers = pandas.concat([world.answers(name, np.broadcast_to(share, len(lost))) for name, share in knows.items()])
    scored = world.scored(answers)
    return returns.table({"R": scored, "U": scored}, ARMS).set_index(["label", "recovery", "subset", "metric"])


def test_each_fold_stands_by_itself_and_their_mean_stands_for_the_recovery(table):
    folds = (
        table.loc["rtn", "lora-r4", "pool U", "returned_unseen"],
        table.loc["rtn", SWAPPED[-1], "pool R", "returned_unseen"],
    )
    mean = table.loc["rtn", "lora-r4", "all", "returned_unseen"]
    assert folds[0]["value"] == pytest.approx(0.8, abs=0.1) and folds[1]["value"] == pytest.approx(0.2, abs=0.1)
    assert mean["value"] == pytest.approx((folds[0]["value"] + folds[1]["value"]) / 2)
    assert ("rtn", SWAPPED[-1], "all", "returned_unseen") not in table.index
    assert ("rtn", "lora-r4", "pool R", "relearned") in table.index
    assert ("rtn", SWAPPED[-1], "pool U", "relearned") in table.index


def test_what_looks_at_the_dense_weights_is_never_called_returned(table):
    metrics = set(table.loc["rtn", "eora-r4"].index.get_level_values("metric"))
    assert metrics == {"known_share", "known_change", "repaired_unseen", "repaired_relearned", "not_repaired"}
    assert table.loc["rtn", "eora-r4", "all", "repaired_unseen"]["value"] == pytest.approx(1)


def test_exposures_are_thirds_of_the_known_facts_rarest_first(table):
    strata = sorted({subset for subset in table.index.get_level_values("subset") if subset.startswith("exposures")},
                    key=lambda name: int(name.split()[1].split("-")[0]))  # fmt: skip
    assert len(strata) == 3
    ends = [tuple(map(int, name.split()[1].split("-"))) for name in strata]
    assert all(low[1] < high[0] for low, high in itertools.pairwise(ends))
    for metric in ("returned_unseen", "relearned", "not_returned"):
        assert all(("rtn", "lora-r4", stratum, metric) in table.index for stratum in strata)
    damages = [table.loc["rtn", "none", stratum, "damage"]["value"] for stratum in strata]
    assert np.mean(damages) == pytest.approx(table.loc["rtn", "none", "all", "damage"]["value"], abs=0.03)


def test_on_the_dense_model_there_is_a_change_and_no_return(table):
    change = table.loc["dense", "lora-r4", "all", "known_change"]
    assert change["high"] < 0 and change["value"] == pytest.approx(-0.3, abs=0.07)
    assert "returned_unseen" not in table.loc["dense", "lora-r4"].index.get_level_values("metric")


def test_arms_are_recognized_from_the_settings_of_recoveries():
    text, cells = {"text": "recovery_R"}, ["atlas/rtn/2"]
    entries = {
        "lora": ("lora", {"training": text | {"cross_fit": True}}),
        "masked": ("lora", {"training": text | {"mask": "values"}}),
        "prose": ("lora", {"training": {"text": "prose"}}),
        "untrained": ("prompt", {"training": text | {"steps": 0}}),
        "prompt": ("prompt", {"training": text | {"cross_fit": True}}),
        "idp": ("idp", {"of": ["prompt"]}),
        "distilled": ("distill", {"training": text}),
        "eora": ("eora", {}),
        "merged": ("merge", {"of": ["lora"]}),
        "eora-merged": ("merge", {"of": ["eora"]}),
        "merged-by-inputs": ("merge", {"of": ["masked"], "calibration": "generic"}),
        "idp-mixed": ("idp", {"of": ["untrained", "prompt-masked"]}),
        "prompt-masked": ("prompt", {"training": text | {"mask": "values"}}),
    }
    recovery = {name: {"method": method, "cells": cells} | rest for name, (method, rest) in entries.items()}
    study = Study.model_validate({
        "name": "test", "world": {}, "models": {"atlas": {"source": "world", "architecture": ATLAS}},
        "calibration": {"generic": {"text": "generic"}}, "compression": {"rtn": {"levels": ["2"]}},
        "recovery": recovery, "tasks": ["closed_book"],
    })  # fmt: skip
    found = arms(Grid(study))
    assert {name: arm.name for name, arm in found.items()} == {
        "lora": TEXT, "lora-swapped": TEXT, "masked": MASKED, "prose": OTHER, "untrained": UNTRAINED,
        "prompt": TEXT, "prompt-swapped": TEXT, "idp": TEXT, "idp-swapped": TEXT, "distilled": CONSULTS,
        "eora": CONSULTS, "merged": TEXT, "merged-swapped": TEXT, "eora-merged": CONSULTS,
        "merged-by-inputs": CONSULTS, "idp-mixed": MASKED, "prompt-masked": MASKED,
    }  # fmt: skip
    assert (found["lora"].twin, found["lora"].seen, found["lora"].unseen) == ("lora-swapped", "R", "U")
    assert found["idp-swapped"].is_swapped and found["idp-swapped"].of == ("prompt-swapped",)
    assert {name for name, arm in found.items() if arm.is_swapped} == {
        name for name in found if name.endswith("-swapped")
    }


def test_where_attributes_go_together_each_fold_has_the_chance_of_its_own_text(tmp_path):
    world = World(tmp_path, people=200, correlation=0.75)
    lost = world.rng.random(len(world.facts)) < 0.5
    knows = {DENSE: 1.0, CELL: ~lost, LORA: np.where(lost, 0.6, 1.0), SWAPPED: np.where(lost, 0.6, 1.0)}
    answers = pandas.concat([world.answers(name, np.broadcast_to(share, len(lost))) for name, share in knows.items()])
    asked = {TASK: (answers, read_questions(world.folder, TASK))}
    scored = about_facts.scored(asked, world.facts, True, ARMS)[TASK]
    assert not scored["R"]["room"].equals(scored["U"]["room"])
    found = returns.table(scored, ARMS).set_index(["recovery", "subset", "metric"])["value"]
    folds = []
    for seen, unseen, variant in (("R", "U", LORA), ("U", "R", SWAPPED)):
        rows = dict(list(scored[seen].groupby(VARIANT)))
        fold = Fold(*(rows[name] for name in (DENSE, CELL, variant)), seen=seen, unseen=unseen)
        folds.append(returned([fold])["returned_unseen"].value)
    assert found["lora-r4", "all", "returned_unseen"] == pytest.approx(np.mean(folds))
    assert np.mean(folds) == pytest.approx(0.6, abs=0.1)


def test_a_dense_model_that_knows_nothing_leaves_no_rows_and_no_error(tmp_path):
    world = World(tmp_path)
    answers = pandas.concat([world.answered(name, "nothing") for name in (DENSE, CELL, LORA)])
    table = metrics(answers, SCORING, tasks_folder=world.folder, facts=world.facts)
    assert not set(table["metric"]) & {"known_share", "damage", "returned_unseen"}


def test_a_few_known_facts_have_numbers_without_verdicts(tmp_path):
    world = World(tmp_path, people=20)
    answers = pandas.concat([
        world.answers(DENSE, np.arange(40) < 6),
        *(world.answers(name, np.zeros(40)) for name in (CELL, LORA)),
    ])  # fmt: skip
    table = metrics(answers, SCORING, tasks_folder=world.folder, facts=world.facts)
    assert {"known_share", "damage", "known_change"} <= set(table["metric"])
