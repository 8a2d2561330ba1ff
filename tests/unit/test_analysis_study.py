"""A study's folder becomes three tables, the same bytes each time, with or without a world."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas
import pytest
from test_analysis_answers import answers_of

from palimpsest.analysis.study import analyse
from palimpsest.grid import Cell, Variant
from palimpsest.provenance import PalimpsestError, digest_file, read_json

CLAIMS = Path(__file__).parents[2] / "reports" / "claims.yaml"
TASKS = {"blimp": "multiple_choice", "perplexity_tinystories": "loglikelihood_rolling"}


class Grid:
    """Two variants of a study without a world."""

    judged_tasks = ()
    recoveries: ClassVar[dict] = {}
    probes: ClassVar[dict] = {}
    study = SimpleNamespace(tasks=list(TASKS), world=None)

    def variants(self):
        return [
            Variant(Cell("stories", "dense", "dense", "full", 0)),
            Variant(Cell("stories", "magnitude", "magnitude", "2:4", 0)),
        ]

    def tasks(self, variant):
        return list(TASKS)

    def cells(self):
        return [variant.cell for variant in self.variants()]

    def settings(self, cell):
        return {}

    def allocation(self, cell):
        return None

    def calibration(self, cell):
        return None


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    for task, kind in TASKS.items():
        (tmp_path / "tasks" / task).mkdir(parents=True)
        (tmp_path / "tasks" / task / f"{task}.yaml").write_text(f"task: {task}\noutput_type: {kind}\n")
    for variant in Grid().variants():
        row = tuple(variant.row.values())
        text = {"score": -40 - rng.random(30), "tokens": 20, "person": ""}
        frames = [
            answers_of(row, rng.random(60) < 0.7, task="blimp", subset="agreement", person=""),
            answers_of(row, [np.nan] * 30, task="perplexity_tinystories", subset="test", **text),
        ]
        folder = Path(variant.folder(str(tmp_path)))
        folder.mkdir(parents=True)
        pandas.concat(frames).to_parquet(folder / "answers.parquet")
    return tmp_path


def test_study_without_a_world_is_analysed_to_the_same_bytes(results):
    digests = []
    for _ in range(2):
        analyse(results, Grid(), CLAIMS)
        digests.append([digest_file(results / name) for name in ("answers.parquet", "metrics.parquet", "claims.json")])
    assert digests[0] == digests[1]
    metrics = pandas.read_parquet(results / "metrics.parquet")
    assert set(metrics["metric"]) == {
        *("acc", "lost", "gained", "difference", "p", "p_mcnemar", "p_holm", "p_maxt", "q_bh"),
        *("relative_drop", "matching", "detectable"),
        *("perplexity", "relative_perplexity"),
    }
    assert {claim["verdict"] for claim in read_json(results / "claims.json")} == {"undecided"}
    assert not (results / "facts.parquet").exists()


def test_study_with_a_missing_variant_leaves_no_tables(results):
    (Path(Grid().variants()[1].folder(str(results))) / "answers.parquet").unlink()
    with pytest.raises(PalimpsestError, match=r"magnitude/2-4/s0/none/answers\.parquet: there is no such file"):
        analyse(results, Grid(), CLAIMS)
    assert not list(results.glob("*.parquet"))
