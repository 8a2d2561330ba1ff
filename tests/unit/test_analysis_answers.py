"""Flips are counted both ways, a missing cell is refused, and metrics are what their names say."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest

from palimpsest.analysis.answers import VARIANT, assert_complete, read_answers, task_scoring, tidy, variant_name
from palimpsest.analysis.flips import flips
from palimpsest.analysis.metrics import metrics
from palimpsest.provenance import PalimpsestError

DENSE = ("tiny", "dense", "dense", "full", 0, "none")
CELL = ("tiny", "wanda", "wanda", "2:4", 0, "none")


def answers_of(variant, correct, task="closed_book", **columns):
    rows = {"question": [f"q{number}" for number in range(len(correct))], "correct": correct, "task": task}
    rows |= {"person": [f"p{number // 2}" for number in range(len(correct))]}
    return tidy(pandas.DataFrame(rows | dict(zip(VARIANT, variant, strict=True)) | columns))


def row_of(table, **key):
    found = table[np.logical_and.reduce([table[column] == value for column, value in key.items()])]
    assert len(found) == 1, found
    return found.iloc[0]


def of_closed_book(*variants):
    return [(grid_row(variant), ["closed_book"]) for variant in variants]


def test_flips_are_counted_both_ways():
    dense = answers_of(DENSE, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    cell = answers_of(CELL, [0, 0, 0, 1, 1, 1, 0, 0, 0, 0])
    table = flips(pandas.concat([dense, cell]))
    assert set(table["label"]) == {"wanda"}
    value = {metric: row_of(table, subset="all", metric=metric)["value"] for metric in ("lost", "gained", "difference")}
    assert value == pytest.approx({"lost": 0.3, "gained": 0.1, "difference": -0.2})


def test_flips_refuse_variants_with_other_questions():
    dense, cell = answers_of(DENSE, [1, 1, 1]), answers_of(CELL, [0, 1])
    with pytest.raises(PalimpsestError, match=r"do not answer the same questions, e\.g\. q2"):
        flips(pandas.concat([dense, cell]))


def test_holm_correction_is_over_the_grid():
    rng = np.random.default_rng(0)
    dense = answers_of(DENSE, np.ones(200))
    cells = [answers_of((*CELL[:4], seed, "none"), rng.random(200) > 0.02 * seed) for seed in range(1, 6)]
    table = flips(pandas.concat([dense, *cells]))
    raw, corrected = (
        table[(table["metric"] == name) & (table["subset"] == "all")]["value"] for name in ("p", "p_holm")
    )
    assert len(raw) == 5 and (corrected.to_numpy() >= raw.to_numpy()).all()
    assert corrected.min() == pytest.approx(5 * raw.min())


def grid_row(variant):
    return dict(zip(VARIANT, variant, strict=True))


def test_missing_cell_is_refused_by_name():
    answers = answers_of(DENSE, [1, 0])
    with pytest.raises(PalimpsestError, match="tiny/wanda/2-4/s0/none: no answers to closed_book"):
        assert_complete(answers, of_closed_book(DENSE, CELL))


def test_missing_question_is_refused_by_name():
    answers = pandas.concat([answers_of(DENSE, [1, 0, 1]), answers_of(CELL, [1, 0])])
    with pytest.raises(PalimpsestError, match=r"2-4/s0/none: 1 questions of closed_book are missing \(q2\)"):
        assert_complete(answers, of_closed_book(DENSE, CELL))


def test_doubled_answer_is_refused():
    answers = pandas.concat([answers_of(DENSE, [1, 0]), answers_of(DENSE, [1, 0])])
    with pytest.raises(PalimpsestError, match="q0 of closed_book twice"):
        assert_complete(answers, of_closed_book(DENSE))


def test_complete_answers_pass():
    answers = pandas.concat([answers_of(DENSE, [1, 0]), answers_of(CELL, [0, 0])])
    assert_complete(answers, of_closed_book(DENSE, CELL))
    assert variant_name(grid_row(CELL)) == "tiny/wanda/2-4/s0/none"


def test_order_of_the_files_does_not_matter(tmp_path):
    for name, variant in (("a", DENSE), ("b", CELL)):
        answers_of(variant, [1, 0, 1]).to_parquet(tmp_path / f"{name}.parquet")
    one, other = (read_answers(tmp_path / f"{name}.parquet" for name in order) for order in ("ab", "ba"))
    pandas.testing.assert_frame_equal(one, other)


def test_answers_that_are_not_there_or_not_a_table_are_named(tmp_path):
    with pytest.raises(PalimpsestError, match="was not evaluated"):
        read_answers([tmp_path / "answers.parquet"])
    (tmp_path / "answers.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(PalimpsestError, match="not a Parquet table"):
        read_answers([tmp_path / "answers.parquet"])


def test_perplexity_weighs_tokens_and_is_compared_on_the_same_documents():
    read = {"task": "perplexity", "subset": ["prose", "prose", "passages"], "tokens": [1, 9, 5], "person": ""}
    dense = answers_of(DENSE, [math.nan] * 3, **read, score=[-1.0, -9.0, -10.0])
    cell = answers_of(CELL, [math.nan] * 3, **read, score=[-6.0, -9.0, -10.0])
    table = metrics(pandas.concat([dense, cell]), {"perplexity": ("likelihood", "perplexity")})
    found = row_of(table, label="wanda", subset="prose", metric="perplexity")
    assert found["value"] == pytest.approx(math.exp(1.5)) and found["n"] == 2
    assert found["low"] == pytest.approx(math.exp(1)) and found["high"] == pytest.approx(math.exp(6))
    assert row_of(table, label="wanda", subset="prose", metric="relative_perplexity")["value"] == pytest.approx(
        math.exp(0.5)
    )
    assert row_of(table, label="wanda", subset="all", metric="perplexity")["value"] == pytest.approx(math.exp(25 / 15))
    assert not ((table["label"] == "dense") & (table["metric"] == "relative_perplexity")).any()


def test_accuracy_is_given_by_subset_and_over_all():
    answers = answers_of(DENSE, [1, 1, 0, 0], subset=["a", "a", "b", "b"])
    table = metrics(answers, {"closed_book": ("generated", "exact_match")})
    values = {subset: row_of(table, subset=subset, metric="exact_match")["value"] for subset in ("all", "a", "b")}
    assert values == {"all": 0.5, "a": 1.0, "b": 0.0}
    assert set(table["scoring"]) == {"generated"}


def test_scoring_comes_from_the_task_file(tmp_path):
    (tmp_path / "closed_book").mkdir()
    (tmp_path / "closed_book" / "closed_book.yaml").write_text("task: closed_book\noutput_type: generate_until\n")
    assert task_scoring(tmp_path, ["closed_book"]) == {"closed_book": ("generated", "exact_match")}
    (tmp_path / "closed_book" / "closed_book.yaml").write_text("task: closed_book\n")
    with pytest.raises(PalimpsestError, match="output_type"):
        task_scoring(tmp_path, ["closed_book"])
