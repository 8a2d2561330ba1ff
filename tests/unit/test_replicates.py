"""Replicates: other worlds of one study, and their means with intervals from world to world."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import yaml
from scipy import stats

from palimpsest import settings
from palimpsest.analysis import replicates as analysis
from palimpsest.checks import read_yaml
from palimpsest.grid import Grid
from palimpsest.presentation import replicates as figure
from palimpsest.presentation import style
from palimpsest.provenance import PalimpsestError, digest_json
from palimpsest.replicates import replicate, write
from palimpsest.world.build import build


def test_a_replicate_differs_from_its_study_in_name_and_seeds_only(tmp_path):
    study = read_yaml("studies/atlas.yaml")
    found = replicate(study, 3)
    assert found["name"] == "atlas-r3"
    assert found["world"].pop("seed") == 3
    assert found["models"]["atlas"]["training"].pop("seed") == 3
    assert [entry["training"].pop("seed") for entry in found["recovery"].values()] == [3, 3]
    assert digest_json(found) == digest_json(study | {"name": "atlas-r3"})


def test_replicates_are_studies_with_the_same_cells_and_other_people(tmp_path):
    files = write("studies/tiny.yaml", 2, tmp_path)
    studies = [settings.read(file) for file in files]
    first, second = ([variant.id for variant in Grid(study).variants()] for study in studies)
    assert first == second
    names = []
    for number, study in enumerate(studies):
        build(study.world.model_copy(update={"documents": 10, "texts": 2}), tmp_path / str(number))
        names.append(set(pandas.read_parquet(tmp_path / str(number) / "facts.parquet")["person"]))
    assert len(names[0] & names[1]) < len(names[0]) / 4


def test_without_a_world_there_is_nothing_to_draw_anew():
    study = yaml.safe_load("{name: real, models: {m: {source: folder, path: m}}, tasks: [blimp]}")
    with pytest.raises(PalimpsestError, match=r"real\.yaml: world: replicates are other worlds"):
        replicate(study, 1, "real.yaml")


def rows(values, recovery="lora", metric="returned_unseen", **changes):
    key = {"model": "atlas", "label": "rtn", "method": "rtn", "level": "2", "seed": 0, "recovery": recovery,
           "task": "closed_book", "subset": "all", "scoring": None, "layer": None, "metric": metric}  # fmt: skip
    key |= changes
    return [key | {"value": value, "replicate": f"r{number}"} for number, value in enumerate(values)]


def test_the_interval_is_students_t_over_the_worlds():
    values = [0.1, 0.4, 0.2, 0.35, 0.3]
    found = analysis.pooled(pandas.DataFrame(rows(values))).iloc[0]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found["value"], found["low"], found["high"]) == pytest.approx((np.mean(values), low, high))
    assert (found["smallest"], found["largest"], found["replicates"]) == (0.1, 0.4, 5)


def test_intervals_from_world_to_world_cover_the_truth():
    rng = np.random.default_rng(0)
    table = pandas.DataFrame([row for i in range(2000) for row in rows(rng.normal(0.3, 0.1, 5), label=f"l{i}")])
    found = analysis.pooled(table)
    assert 0.935 < ((found["low"] <= 0.3) & (found["high"] >= 0.3)).mean() < 0.965


def test_a_world_without_a_verdict_does_not_count_and_one_alone_has_no_interval():
    found = analysis.pooled(pandas.DataFrame(rows([0.2, float("nan"), 0.4]) + rows([0.5], recovery="prompt")))
    assert found["replicates"].tolist() == [2, 1]
    assert found["low"].isna().tolist() == [False, True]


def test_a_replicate_that_was_not_run_is_named(tmp_path):
    with pytest.raises(PalimpsestError, match=r"atlas-r1: no metrics\.parquet: run this replicate"):
        analysis.read([tmp_path / "atlas-r1"])


def test_the_figure_has_every_cell_recovery_and_world():
    table = pandas.DataFrame(
        rows([0.5, 0.6, 0.7], recovery="none", metric="damage")
        + rows([0.2, 0.3, 0.4]) + rows([0.1, 0.1, 0.2], recovery="prompt")
        + rows([0.2, 0.3, 0.4], metric="relearned") + rows([0.1, 0.1, 0.2], recovery="prompt", metric="relearned")
    )  # fmt: skip
    with style.context():
        drawn = figure.draw(table, analysis.pooled(table))
    damage, returned, _ = drawn.axes
    assert [len(points.get_offsets()) for points in returned.collections if len(points.get_offsets()) > 1] == [3, 3]
    assert [text.get_text() for text in damage.get_yticklabels()] == ["rtn 2 bit"]
    assert {text.get_text() for legend in drawn.legends for text in legend.get_texts()} == {"lora", "prompt"}
