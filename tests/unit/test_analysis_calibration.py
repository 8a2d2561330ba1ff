"""Content against leakage of calibration text: planted effects are found, and nothing is found where nothing is."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from palimpsest import settings
from palimpsest.analysis import calibration, intervals
from palimpsest.analysis.answers import VARIANT, tidy
from palimpsest.grid import Grid
from palimpsest.halves import HALVES, half
from palimpsest.settings import Study

PEOPLE = [f"person{number}" for number in range(160)]
QUESTIONS = pandas.Index([f"{person}/{n}" for person in PEOPLE for n in range(5)], name="question")
OF = pandas.Series([question.split("/")[0] for question in QUESTIONS], QUESTIONS)
HALF = OF.map(half)


def answered(rng, chance, seeds=3, spread=0.0) -> pandas.DataFrame:
    """Right answers, a column a seed: their chance differs from person to person, and from sample to sample."""
    luck = OF.map(dict(zip(PEOPLE, rng.normal(0, 0.1, len(PEOPLE)), strict=True)))
    samples = rng.normal(0, spread, seeds)
    return pandas.DataFrame(
        {seed: (rng.random(len(OF)) < chance + luck + samples[seed]).astype(float) for seed in range(seeds)}, QUESTIONS
    )


def planted(rng, own=0.0, content=0.0, **sampling):
    """Right answers under calibration on half_a, half_b and another text. half_a is easier, and A the better text."""
    easy = np.where(HALF == "half_a", 0.15, 0.0)
    on_a = answered(rng, 0.25 + easy + content + 0.05 + np.where(HALF == "half_a", own, 0), **sampling)
    on_b = answered(rng, 0.25 + easy + content - 0.05 + np.where(HALF == "half_b", own, 0), **sampling)
    return on_a, on_b, answered(rng, 0.25 + easy, **sampling)


def test_leakage_is_half_the_difference_of_the_differences_against_the_dense_model():
    rng = np.random.default_rng(0)
    on_a, on_b, dense = planted(rng, own=0.1)
    change = {
        (calibrated, asked): (right - dense)[asked == HALF].mean(axis=None)
        for calibrated, right in (("half_a", on_a), ("half_b", on_b))
        for asked in HALVES
    }
    difference_of_a = change["half_a", "half_a"] - change["half_a", "half_b"]
    difference_of_b = change["half_b", "half_a"] - change["half_b", "half_b"]
    found = calibration.leakage(on_a, on_b, OF)
    assert found.value == pytest.approx((difference_of_a - difference_of_b) / 2)
    assert found.n == len(QUESTIONS)
    mixed = calibration.leakage(on_a.sample(frac=1, random_state=0), on_b.sample(frac=1, random_state=1), OF)
    assert mixed == found, "answers are matched by question, not by place"


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("own", [0.0, 0.2])
@pytest.mark.parametrize("content", [0.0, 0.15])
def test_planted_leakage_and_content_are_covered_and_do_not_mix(own, content, seeds):
    covered = {"leakage": 0, "content": 0}
    for seed in range(40):
        on_a, on_b, other = planted(np.random.default_rng(seed), own, content, seeds=seeds)
        leakage = calibration.leakage(on_a, on_b, OF)
        above = calibration.content(on_a, on_b, other, OF)
        covered["leakage"] += leakage.low <= own <= leakage.high
        covered["content"] += above.low <= content <= above.high
        if own:
            assert leakage.low > 0
    assert min(covered.values()) >= 35, covered  # of 40 intervals of 95 %


def test_intervals_of_content_know_that_samples_differ():
    covered, alone = 0, 0
    for seed in range(60):
        on_a, on_b, other = planted(np.random.default_rng(seed), spread=0.05)
        found = calibration.content(on_a, on_b, other, OF)
        covered += found.low <= 0 <= found.high
        of_people = calibration.content(*(right.mean(axis=1).to_frame() for right in (on_a, on_b, other)), OF)
        alone += of_people.low <= 0 <= of_people.high
    assert covered >= 54 and alone <= 48, (covered, alone)  # of 60 intervals of 95 %


def test_interval_with_one_seed_is_the_bootstrap_over_people():
    right = planted(np.random.default_rng(5), seeds=1)[0]
    assert calibration.seed_mean(right, OF) == intervals.mean(right[0], OF)


def test_share_of_samples_that_have_nothing_in_common_stays_a_share():
    right = pandas.DataFrame({0: 0.0, 1: 1.0}, QUESTIONS)
    assert calibration.seed_mean(right, OF) == intervals.Estimate(0.5, 0.0, 1.0, len(QUESTIONS))


def test_better_and_worse_samples_cancel_in_leakage():
    def width(spread):
        found = [planted(np.random.default_rng(seed), spread=spread)[:2] for seed in range(10)]
        estimates = [calibration.leakage(on_a, on_b, OF) for on_a, on_b in found]
        return sum(estimate.high - estimate.low for estimate in estimates)

    assert width(0.1) < 1.1 * width(0.0)


def test_person_with_more_questions_does_not_make_its_half_count_more():
    rng = np.random.default_rng(3)
    on_a, on_b, _ = planted(rng, own=0.2)
    kept = (HALF == "half_a") | (OF.index.str[-1] != "0")  # four fifths of half_b's questions
    whole, fewer = calibration.leakage(on_a, on_b, OF), calibration.leakage(on_a[kept], on_b[kept], OF[kept])
    halves = [(on_a - on_b)[HALF == "half_a"], (on_b - on_a)[(HALF == "half_b") & kept]]
    assert fewer.value == pytest.approx(sum(change.mean(axis=None) for change in halves) / 2)
    assert fewer.n < whole.n


@pytest.fixture
def grid() -> Grid:
    text = {name: {"text": name, "samples": 64, "length": 32} for name in calibration.OWN.values()}
    text |= {f"{name}-short": entry | {"samples": 8} for name, entry in text.items()}
    text |= {"generic": {"text": "generic", "samples": 100}, "short": {"text": "prose", "samples": 8, "length": 32}}
    atlas = {"source": "world", "architecture": settings.ATLAS}
    return Grid(Study.model_validate({
        "name": "test", "seeds": [0, 1], "world": {}, "models": {"atlas": atlas}, "calibration": text,
        "compression": {
            "magnitude": {"levels": ["0.5"]},
            "wanda": {"levels": ["0.5", "0.6"], "calibration": list(text)},
            "gptq": {"levels": ["3"], "calibration": ["biographies_half_a", "generic"]},
            "gptq-act": {"method": "gptq", "levels": ["3"], "options": {"act_order": True},
                         "calibration": "biographies_half_b"},
        },
        "recovery": {"lora": {"method": "lora", "training": {"text": "recovery_R"},
                              "cells": ["atlas/wanda-generic/0.5"]}},
        "tasks": ["closed_book"],
    }))  # fmt: skip


def answers_of(grid: Grid, rng, own: float) -> pandas.DataFrame:
    """Every variant's answers; calibration on a half is worth `own` to its people, whatever the level and seed."""
    frames = []
    texts = {cell: found.text for cell, found in calibration.calibrated(grid).items()}
    for variant in grid.variants():
        text = texts.get(variant.cell, "")
        chance = 0.5 + own * (text.removeprefix("biographies_") == HALF)
        if variant.recovery != "none":
            chance = chance + 0.4
        frame = pandas.DataFrame({"question": QUESTIONS, "person": OF.to_numpy(), "task": "closed_book"})
        frame["subset"] = np.where(frame["question"].str.endswith("/4"), "never_shown", "questions_shown")
        frame["correct"] = np.where(
            frame["subset"] == "never_shown", rng.random(len(OF)) < 0.05, answered(rng, chance, seeds=1)[0]
        )
        frames.append(tidy(frame.assign(**variant.row)))
    return pandas.concat(frames, ignore_index=True)


def test_contrasts_stand_at_the_cells_that_they_are_made_of(grid):
    cells = calibration.calibrated(grid)
    assert {cell.label for cell in cells} == {
        "wanda-generic", "wanda-short", "gptq-biographies_half_a", "gptq-generic", "gptq-act",
        *(f"wanda-{name}{size}" for name in calibration.OWN.values() for size in ("", "-short")),
    }  # fmt: skip
    answers = answers_of(grid, np.random.default_rng(0), own=0.3)
    table = calibration.contrasts(answers, cells).set_index(["label", "level", "seed"]).sort_index()
    leakage = table[table["metric"] == "calibration_leakage"]
    # gptq has one half only with act_order and one only without: nothing that can be compared.
    assert set(leakage.index.get_level_values("label")) == {
        f"wanda-{name}{size}" for name in calibration.OWN.values() for size in ("", "-short")
    }
    assert (leakage["low"] > 0).all() and (abs(leakage["value"] - 0.3) < 0.1).all()
    assert leakage.loc["wanda-biographies_half_a", "value"].nunique() == 2  # one a level, the same for both seeds
    assert (leakage.loc["wanda-biographies_half_a", "value"] == leakage.loc["wanda-biographies_half_b", "value"]).all()
    assert (
        leakage.loc["wanda-biographies_half_a", "value"] != leakage.loc["wanda-biographies_half_a-short", "value"]
    ).all()
    content = table[table["metric"] == "calibration_content"]
    assert set(content.index.get_level_values("label")) == {"wanda-generic", "wanda-short"}
    assert (content["low"] < 0).all() and (content["high"] > 0).all()
    assert set(table["n"]) == {4 * len(PEOPLE)}, "facts never shown do not count"
    mean = table[table["metric"] == "seed_mean"]
    plain = answers[(answers["recovery"] == "none") & (answers["subset"] != "never_shown")]
    expected = plain[(plain["label"] == "gptq-act") & (plain["level"] == "3")]["correct"].mean()
    assert mean.loc[("gptq-act", "3", 1), "value"] == pytest.approx(expected) and len(mean) == len(cells)


def test_content_is_measured_against_the_halves_of_the_same_size_where_there_are_such(grid):
    cells = calibration.calibrated(grid)
    answers = answers_of(grid, np.random.default_rng(1), own=0.0)
    mean = answers[(answers["recovery"] == "none") & (answers["subset"] != "never_shown")]
    right = {
        key: found.pivot(index="question", columns="seed", values="correct")
        for key, found in mean.groupby(["label", "level"])
    }
    people = OF[~OF.index.str.endswith("/4")]
    table = calibration.contrasts(answers, cells)
    content = table[(table["metric"] == "calibration_content") & (table["seed"] == 0)].set_index(["label", "level"])
    for label, size in (("wanda-short", "-short"), ("wanda-generic", "")):
        on_a, on_b = (right[f"wanda-biographies_{name}{size}", "0.6"] for name in HALVES)
        expected = calibration.content(on_a, on_b, right[label, "0.6"], people)
        assert content.loc[(label, "0.6"), "value"] == pytest.approx(expected.value)


def test_tokens_name_the_calibration_of_each_cell(grid, tmp_path):
    from palimpsest.provenance import write_json

    for model, name, seed in grid.calibrations():
        folder = tmp_path / f"calibration/{model}/{name}/s{seed}"
        write_json(folder / "calibration.json", {"tokens": 100 + seed})
    table = calibration.tokens(tmp_path, grid, calibration.calibrated(grid))
    chosen = table.set_index(["label", "level", "seed"]).loc[("wanda-short", "0.6", 1)]
    assert chosen["subset"] == "short" and chosen["value"] == 101 and set(VARIANT) <= set(table)
