"""The table of choices: which prompt, how often, and beside it what the best prompt alone and the oracle came to."""

from __future__ import annotations

import csv
import io

import pandas
import presentation_example as example
import pytest

from palimpsest.presentation import available, tables
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables import latex

NAME = {"model": "atlas", "label": "magnitude", "method": "magnitude", "level": "0.6", "seed": 0, "recovery": "idp"}
FOUND = [
    ("closed_book", "prompt-8", "choice_share", 0.8), ("closed_book", "prompt-32", "choice_share", 0.2),
    ("closed_book", "all", "choice_margin", 0.006), ("closed_book", "prompt-8 only", "choice_margin", 0.009),
    ("closed_book_mc", "scored forms", "chosen", 0.61), ("closed_book_mc", "scored forms", "best_prompt", 0.6),
    ("closed_book_mc", "scored forms", "oracle", 0.7),
    ("closed_book_mc", "shown", "idp_gain", 0.01), ("closed_book_mc", "all", "idp_gain", 0.02),
    ("closed_book", "all", "idp_gain", 0.03),
    ("closed_book_mc", "scored forms", "oracle_minus_best_prompt", 0.1),
]  # fmt: skip


@pytest.fixture
def study(tmp_path):
    folder = example.write(tmp_path / "example")
    rows = [
        NAME | {"task": task, "subset": subset, "metric": metric, "value": value, "scoring": "measure", "layer": ""}
        for task, subset, metric, value in FOUND
    ]
    rows = [row | {"low": row["value"] - 0.01, "high": row["value"] + 0.01, "n": 300} for row in rows]
    pandas.concat([example.metrics(), pandas.DataFrame(rows)]).to_parquet(folder / "metrics.parquet")
    return Tables(folder)


def test_the_prompt_chosen_most_stands_with_its_share_and_what_choosing_came_to(study):
    assert "choices" in available.tables_of(study)
    first, second = csv.DictReader(io.StringIO(latex.as_csv(tables.make("choices", study))))
    assert (first["recovery"], first["task"], first["most"]) == ("idp", "closed book", "prompt-8")
    assert float(first["share"]) == pytest.approx(0.8) and float(first["margin"]) == pytest.approx(0.006)
    assert first["chosen"] == "" and second["most"] == ""
    assert float(second["oracle"]) == pytest.approx(0.7)
    assert float(second["idp_gain_low"]) == pytest.approx(0.0), "over the facts that were shown"
    assert float(first["idp_gain"]) == pytest.approx(0.03), "over all, where there is nothing else"


def test_a_study_without_choices_has_no_such_table(tmp_path):
    assert "choices" not in available.tables_of(Tables(example.write(tmp_path / "example")))
