"""Every method against the errors that its authors' own code reaches on one synthetic layer."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import reference_cases

import palimpsest

HERE = Path(__file__).parent
ROWS = list(csv.DictReader((HERE / "reference_layer_errors.csv").read_text().splitlines()))
# How far the error may be from the reference: rounding, Wanda and magnitude differ by ties only.
TOLERANCE = {
    "magnitude": 1e-3,
    "wanda": 1e-5,
    "sparsegpt": 1e-2,
    "rtn": 1e-5,
    "gptq": 1e-2,
    "svd": 1e-3,
    "svd-llm": 1e-3,
}


@pytest.fixture(scope="module")
def case():
    return reference_cases.c256()


def relative_error(case, compressed, inputs="X"):
    x, w, error = case[inputs].double(), case["W"].double(), (compressed.dense() - case["W"]).double()
    return ((x @ error.T).norm() ** 2 / (x @ w.T).norm() ** 2).item()


@pytest.mark.parametrize("row", ROWS, ids=[" ".join(filter(None, list(row.values())[:3])) for row in ROWS])
def test_error_equals_that_of_the_authors_code(case, row):
    options = dict.fromkeys(row["options"].split(), True)
    compressed = palimpsest.compress_weight(case["W"], case["X"], row["method"], row["level"], **options)
    tolerance = TOLERANCE[row["method"]]
    assert relative_error(case, compressed) == pytest.approx(float(row["calibration_error"]), rel=tolerance)
    assert relative_error(case, compressed, "Xt") == pytest.approx(float(row["held_out_error"]), rel=tolerance)


@pytest.mark.parametrize("row", [row for row in ROWS if row["method"] in ("rtn", "gptq")][::3], ids=str)
def test_scales_of_16_bits_cost_less_than_one_percent(case, row):
    options = dict.fromkeys(row["options"].split(), True) | {"scale_bits": 16}
    compressed = palimpsest.compress_weight(case["W"], case["X"], row["method"], row["level"], **options)
    assert relative_error(case, compressed) < 1.01 * float(row["calibration_error"])


def test_each_method_that_sees_inputs_beats_the_one_that_does_not(case):
    def error(method, level):
        return relative_error(case, palimpsest.compress_weight(case["W"], case["X"], method, level), "Xt")

    assert error("sparsegpt", "0.5") < error("wanda", "0.5") < error("magnitude", "0.5")
    assert error("gptq", "3") < error("rtn", "3")
    assert error("svd-llm", "k0.6") < error("svd", "k0.6")
