"""Low-rank algorithms beside plain SVD at the same level: paired by question, and by a probe's test row."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from palimpsest.analysis.beside_svd import answered, probed
from palimpsest.analysis.siblings import of_plain_svd
from palimpsest.grid import Grid
from palimpsest.settings import Study

STUDY = {
    "name": "algorithms",
    "models": {"atlas": {"source": "folder", "path": "models/atlas"}},
    "calibration": {"generic": {"text": "random"}},
    "compression": {
        "wanda": {"levels": ["0.5"]},
        "svd": {"levels": ["k0.8", "k0.6"]},
        "asvd": {"levels": ["k0.8", "k0.5"]},
        "svd-redundant": {"method": "svd-llm", "levels": ["k0.8"], "allocation": "redundant"},
    },
    "tasks": ["blimp"],
}


@pytest.fixture
def grid():
    return Grid(Study.model_validate(STUDY))


def who(label, level):
    return {"model": "atlas", "label": label, "method": label, "level": level, "seed": 0, "recovery": "none"}


def outcomes(values, metric="acc", layer=3):
    """label -> values of one layer's test rows."""
    tables = []
    for label, found in values.items():
        table = pandas.DataFrame({"row": [f"r{number}" for number in range(len(found))], "value": found})
        table["cluster"] = table["row"]
        what = {"task": "tree_depth", "subset": "mean", "scoring": "linear", "layer": layer, "metric": metric}
        tables.append(table.assign(**who(label, "k0.8"), **what))
    return pandas.concat(tables, ignore_index=True)


def test_an_algorithm_stands_beside_plain_svd_of_its_level_where_every_matrix_has_it(grid):
    assert {cell.id: other.id for cell, other in of_plain_svd(grid).items()} == {
        "atlas/asvd/k0.8/s0": "atlas/svd/k0.8/s0",
    }  # fmt: skip


def test_answers_are_paired_by_question(grid):
    rows = []
    for label, level, right in (("svd", "k0.8", 10), ("asvd", "k0.8", 16)):
        texts = {"person": "", "passage": "", "subject": "", "subset": "", "task": "blimp", "score": -1.0, "tokens": 1}
        rows += [who(label, level) | texts | {"question": f"q{n}", "correct": float(n < right)} for n in range(40)]
    [row] = answered(pandas.DataFrame(rows), grid).itertuples()
    assert (row.label, row.metric, row.task, row.n) == ("asvd", "minus_svd", "blimp", 40)
    assert row.value == pytest.approx(6 / 40) and 0 < row.low < row.value < row.high


@pytest.mark.parametrize("metric", ["acc", "uuas"])
def test_probes_are_paired_by_test_row_whatever_their_order(grid, metric):
    draws = np.random.default_rng(0)
    plain = (draws.random(300) < 0.5).astype(float) if metric == "acc" else draws.random(300)
    better = np.where(np.arange(300) < 60, 1.0, plain)
    table = outcomes({"svd": plain, "asvd": better, "random": plain}, metric)
    [row] = probed([table.sample(frac=1, random_state=1)], grid).itertuples()
    assert (row.label, row.metric, row.layer, row.subset) == ("asvd", f"{metric}_minus_svd", "3", "mean")
    assert row.value == pytest.approx((better - plain).mean()) and row.low < row.value < row.high
    # Paired: much tighter than two shares of 300 rows each.
    assert row.high - row.low < 0.5 * 2 * 1.96 * np.sqrt(2 * 0.25 / 300) or metric == "uuas"


def test_a_probe_that_only_one_of_them_has_says_nothing(grid):
    assert probed([outcomes({"asvd": np.ones(20)})], grid).empty and probed([], grid).empty
