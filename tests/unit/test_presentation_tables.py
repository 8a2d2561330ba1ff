"""Tables: the same rows as LaTeX, CSV and HTML, and no table of what merely happens to be there."""

from __future__ import annotations

import csv
import io

import pandas
import presentation_example as example
import pytest

from palimpsest.presentation import available, tables
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.tables import latex
from palimpsest.presentation.tables.latex import Column, Table
from palimpsest.presentation.tables.web import web
from palimpsest.provenance import PalimpsestError


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Tables(example.write(tmp_path_factory.mktemp("results") / "example"))


def read(table):
    return list(csv.DictReader(io.StringIO(latex.as_csv(table))))


def test_every_cell_has_its_row_and_its_numbers(study):
    rows = read(tables.make("cells", study))
    assert len(rows) == 21
    row = next(row for row in rows if (row["label"], row["level"]) == ("rtn", "2"))
    assert float(row["closed_book_shown"]) == pytest.approx(0.53)
    assert (row["bits_per_weight"], float(row["knowledge_bits"])) == ("2.3", pytest.approx(2668))


def test_table_refuses_missing_cells(tmp_path):
    folder = example.write(tmp_path / "example")
    measured = example.measurements()
    measured[(measured["label"] != "svd") | (measured["metric"] != "bytes_total")].to_parquet(
        folder / "measurements.parquet"
    )
    with pytest.raises(
        PalimpsestError, match=r"bytes_total is missing for 2 of 21 cells: atlas/svd/k0.8/s0, atlas/svd/k0.6/s0"
    ):
        tables.make("cells", Tables(folder))


def test_a_cell_that_is_in_no_table_is_missed_too(study):
    with pytest.raises(PalimpsestError, match="missing cells: atlas/gptq/8/s0"):
        study.expect(["atlas/gptq/4/s0", "atlas/gptq/8/s0"])


def test_no_verdict_is_printed_as_a_dash_and_not_taken_for_a_missing_cell(tmp_path):
    folder = example.write(tmp_path / "example")
    metrics = example.metrics()
    undecided = (metrics["metric"] == "returned_unseen") & (metrics["label"] == "magnitude")
    metrics.loc[undecided, ["value", "low", "high"]] = float("nan")
    metrics.to_parquet(folder / "metrics.parquet")
    table = tables.make("recovery", Tables(folder))
    mine = [row for row in read(table) if row["label"] == "magnitude" and row["recovery"] != "none"]
    assert [row["returned_unseen"] for row in mine] == ["", ""] and all(row["relearned"] for row in mine)
    assert "& -- &" in latex.latex(table)


def test_the_size_beside_a_recovery_is_that_of_cell_and_adapter_together(tmp_path):
    folder = example.write(tmp_path / "example")
    measured = example.measurements()
    chosen = (measured["metric"] == "bytes_total") & (measured["recovery"] == "lora-r4")
    measured.loc[chosen & (measured["label"] == "magnitude"), "value"] = 7_250_000
    measured.to_parquet(folder / "measurements.parquet")
    rows = read(tables.make("recovery", Tables(folder)))
    [mine] = [row for row in rows if row["label"] == "magnitude" and row["recovery"] == "lora-r4"]
    assert float(mine["bytes_total"]) == 7_250_000


def test_latex_prints_any_text_as_it_is():
    table = Table([Column("a", "50 % & more", right=False), Column("b", "b", decimals=2)])
    table.add({"a": "a_b{c}^~\\#$ − 2:4", "b": Number(-1234.5, -1300, -1200, 10)})
    text = latex.latex(table)
    assert r"50 \% \& more & b \\" in text
    assert r"a\_b\{c\}\textasciicircum{}\textasciitilde{}\textbackslash{}\#\$ $-$ 2:4 & $-$1\,234.50 \\" in text
    assert r"{\tiny [$-$1\,300.00, $-$1\,200.00]}" in text and text.isascii()


def test_an_interval_takes_three_columns_of_the_csv():
    table = Table([Column("x", "x", decimals=1), Column("y", "y")])
    table.add({"x": Number(0.123456789, 0.1, 0.2, 5), "y": None})
    assert latex.as_csv(table) == "x,x_low,x_high,y\n0.123456789,0.1,0.2,\n"


def test_html_escapes_and_marks_verdicts(study):
    table = Table([Column("verdict", "verdict", right=False), Column("x", "<x>", right=False)])
    table.add({"verdict": "supported", "x": "<script>"})
    page = web(table, 'a "caption"')
    assert '<span class="verdict supported">supported</span>' in page and "<script>" not in page and "&lt;x&gt;" in page
    assert page.count("<td") == 2 and 'aria-label="a &quot;caption&quot;"' in page


def test_flips_are_shown_both_ways_for_every_task(study):
    rows = read(tables.make("flips", study))
    assert len(rows) == 19 * 5 and {row["task"] for row in rows} >= {
        "closed book",
        "open book, three people",
        "entailment",
    }
    assert all(row["lost"] and row["gained"] and row["p_holm"] for row in rows)


def test_seeds_have_a_column_only_where_there_are_several(tmp_path):
    folder = example.write(tmp_path / "example")
    assert "seed" not in read(tables.make("flips", Tables(folder)))[0]
    for name in ("metrics", "measurements"):
        table = getattr(example, name)()
        table.loc[table["label"] == "wanda", "seed"] = 1
        table.to_parquet(folder / f"{name}.parquet")
    assert {row["seed"] for row in read(tables.make("cells", Tables(folder)))} == {"0", "1"}


def test_content_and_leakage_stand_in_one_row_a_method_and_level(tmp_path):
    table = tables.make("calibration", Tables(example.write_swept(tmp_path / "swept")))
    rows = read(table)
    assert [(row["model"], row["label"], row["level"]) for row in rows] == [
        *(("atlas", label, level) for label, level in (("wanda", "0.5"), ("wanda", "0.6"), ("gptq", "3"))),
        ("atlas-outlier", "gptq", "3"),
    ]
    assert float(rows[0]["leakage"]) == pytest.approx(0.03)
    others = [name for name in example.CALIBRATIONS if not name.startswith("half")]
    assert {key for key in rows[0] if key.startswith("over_") and not key.endswith(("_low", "_high"))} == {
        f"over_{name}" for name in others
    }
    assert float(rows[0]["over_random"]) == pytest.approx(0.08) and float(rows[0]["over_random_low"]) < 0.08


def test_a_large_compressed_model_stands_beside_each_small_dense_one(tmp_path):
    cell = ["atlas", "gptq", "gptq", "4", 0, "none"]
    small, tiny = ([f"atlas-{size}", "dense", "dense", "full", 0, "none"] for size in ("medium", "small"))
    nothing = float("nan")
    found = [
        [*cell, "closed_book", "atlas-medium", "generated", "", "at_equal_bytes", 0.05, 0.03, 0.07, 700],
        [*cell, "perplexity", "atlas-medium", "likelihood", "", "perplexity_at_equal_bytes", 0.97, 0.96, 0.98, 300],
        [*small, "", "atlas", "", "", "cells_at_equal_bytes", 9.0, nothing, nothing, 16],
        [*tiny, "", "atlas", "", "", "cells_at_equal_bytes", 0.0, nothing, nothing, 16],
    ]
    metrics = example.metrics()
    pandas.DataFrame(found, columns=metrics.columns).to_parquet(tmp_path / "metrics.parquet")
    rows = read(tables.make("equal_bytes", Tables(tmp_path)))
    assert [(row["small"], row["task"], row["cell"]) for row in rows] == [
        ("atlas-medium", "closed book", "atlas gptq 4 bit"),
        ("atlas-medium", "perplexity", "atlas gptq 4 bit"),
        ("atlas-small", "", "none of 16 of atlas is as small"),
    ]
    assert (rows[0]["at_equal_bytes"], rows[0]["at_equal_bytes_low"]) == ("0.05", "0.03")
    assert rows[1]["perplexity_at_equal_bytes"] == "0.97" and not rows[1]["at_equal_bytes"]
    assert "equal_bytes" in available.tables_of(Tables(tmp_path))
