"""Cells whose level is shared out among their matrices, beside the cell where every matrix has it."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from palimpsest.analysis.allocated import beside_uniform
from palimpsest.analysis.siblings import of_allocations
from palimpsest.grid import Grid
from palimpsest.settings import Study

STUDY = {
    "name": "selective",
    "models": {"atlas": {"source": "folder", "path": "models/atlas"}},
    "calibration": {"generic": {"text": "random"}},
    "allocation": {
        "mlp": {"method": "only", "options": {"modules": ["up_proj"], "budget": "whole"}},
        "same": {"method": "uniform"},
    },
    "compression": {
        "svd": {"levels": ["k0.8", "k0.6"]},
        "svd-mlp": {"method": "svd", "levels": ["k0.8", "k0.4"], "allocation": "mlp"},
        "svd-llm-mlp": {"method": "svd-llm", "levels": ["k0.8"], "allocation": "mlp"},
        "svd-same": {"method": "svd", "levels": ["k0.6"], "allocation": "same"},
    },
    "tasks": ["blimp", "perplexity_wikitext2"],
}


@pytest.fixture
def grid():
    return Grid(Study.model_validate(STUDY))


def answers(grid, right):
    """`right`: label -> right answers, of one question each; texts have log-likelihoods −tokens · (1 + wrong share)."""
    rows = []
    for cell in grid.cells():
        correct = right.get(cell.label, [True] * 40)
        who = {"model": cell.model, "label": cell.label, "method": cell.method, "level": cell.level, "seed": cell.seed,
               "recovery": "none", "subset": "", "person": "", "passage": "", "subject": ""}  # fmt: skip
        rows += [who | {"task": "blimp", "question": f"q{number}", "correct": float(one), "score": -1.0, "tokens": 1}
                 for number, one in enumerate(correct)]  # fmt: skip
        each = 1 + 1 - np.mean(correct)
        rows += [
            who | {"task": "perplexity_wikitext2", "question": f"t{tokens}", "correct": None, "tokens": tokens}
            | {"score": -each * tokens} for tokens in (10, 30, 20)
        ]  # fmt: skip
    return pandas.DataFrame(rows)


def test_a_cell_stands_beside_the_one_that_differs_in_the_allocation_only(grid):
    found = {cell.id: other.id for cell, other in of_allocations(grid).items()}
    # Not at a level that the uniform label lacks, nor a method that has none; "same" is uniform itself.
    assert found == {"atlas/svd-mlp/k0.8/s0": "atlas/svd/k0.8/s0"}


def test_the_difference_is_that_of_the_same_questions_and_texts(grid):
    uniform, mlp = [True] * 20 + [False] * 20, [True] * 15 + [False] * 5 + [True] * 16 + [False] * 4
    table = beside_uniform(answers(grid, {"svd": uniform, "svd-mlp": mlp}), grid)
    assert {(row.label, row.subset) for row in table[table["metric"] == "allocated"].itertuples()} == {
        ("svd", "uniform"), ("svd-mlp", "mlp"),
    }  # fmt: skip
    [row] = table[(table["metric"] == "minus_uniform") & (table["subset"] == "all")].itertuples()
    assert (row.label, row.level, row.task, row.n) == ("svd-mlp", "k0.8", "blimp", 40)
    assert row.value == pytest.approx(11 / 40) and 0 < row.low < 11 / 40 < row.high
    [row] = table[table["metric"] == "perplexity_over_uniform"].itertuples()
    assert row.value == pytest.approx(np.exp((1 + 9 / 40) - (1 + 20 / 40))) and row.low <= row.value <= row.high


def test_an_encoder_that_answers_nothing_is_named_and_not_compared(grid):
    table = beside_uniform(answers(grid, {}).query("label != 'svd-mlp'"), grid)
    assert set(table["metric"]) == {"allocated"}


def test_a_study_without_allocations_has_no_such_rows():
    plain = Grid(Study.model_validate(STUDY | {"compression": {"svd": {"levels": ["k0.8"]}}, "allocation": {}}))
    assert beside_uniform(answers(plain, {}), plain).empty
