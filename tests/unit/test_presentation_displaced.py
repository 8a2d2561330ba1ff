"""What was displaced is told by arm, repairs apart, whichever way the numbers fall."""

from __future__ import annotations

import displaced_example as example
import pytest
from matplotlib.colors import to_hex

from palimpsest.presentation import arms_of, figures, found_displaced, quantities, style, tables
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures import displaced


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Tables(example.write(tmp_path_factory.mktemp("results") / "returning"))


def told_of(study, cell):
    [sentence] = [sentence for sentence in found_displaced.came_back(study) if sentence.startswith(cell)]
    return sentence


def test_each_arm_has_a_sentence_and_repairs_are_no_return(study):
    told = told_of(study, "rtn 2 bit")
    returned, masked, untrained, repaired = told.split(". ")
    assert "65 % [53, 77] with lora-r4" in returned and "−8 % [−20, 4] with prompt-8" in returned
    assert "eora" not in returned and "masked" not in returned and "swapped" not in told
    assert masked.startswith("With the loss masked at the values: 50 %") and untrained.startswith("Untrained: −20 %")
    assert "no return" in repaired and "90 % [78, 102] with eora-r4" in repaired


def test_a_cell_that_lost_under_ten_points_has_no_verdict(study):
    assert told_of(study, "svd") == (
        "svd 60 % kept: no verdict, since fewer than 10 points of the known facts were lost (7.0 % [4.0, 10.0])."
    )


def test_the_table_of_arms_keeps_repairs_in_columns_of_their_own(study):
    table = tables.make("arms", study)
    rows = {(row["label"], row["recovery"]): row for row in table.rows}
    mine = rows["rtn", "eora-r4"]
    assert mine["arm"] == "consults dense" and "returned_closed_book" not in mine
    assert mine["repaired_closed_book_mc"].value == pytest.approx(0.9)
    assert rows["rtn", "lora-r4"]["returned_closed_book_mc"].value == pytest.approx(0.65)
    assert "returned_closed_book" not in rows["dense", "lora-r4"] and "change_closed_book" in rows["dense", "lora-r4"]
    assert not any(recovery.endswith("-swapped") for _, recovery in rows)
    assert [row["arm"] for row in table.rows if row["label"] == "rtn"][-2:] == ["consults dense"] * 2


def test_the_bar_of_a_recovery_ends_where_its_shares_do(study):
    with style.context():
        figure = figures.draw("displaced", study)
    panel = figure.axes[0]
    names = {tick: label.get_text() for tick, label in zip(panel.get_yticks(), panel.get_yticklabels(), strict=True)}
    widths = {
        to_hex(bar.get_facecolor()): bar.get_width()
        for bar in panel.patches
        if names[bar.get_y() + bar.get_height() / 2] == "lora-r4"
    }
    looks = (displaced.RETURNED, displaced.RELEARNED, displaced.REMAINS)
    assert [widths[color] for color, _ in looks] == pytest.approx([65, 25, 10])
    repaired = [bar for bar in panel.patches if to_hex(bar.get_facecolor()) == displaced.REPAIRED[0]]
    assert {names[bar.get_y() + bar.get_height() / 2] for bar in repaired} == {
        "eora-r4 (consults dense)", "distill-r4 (consults dense)"
    }  # fmt: skip
    assert any("svd 60 % kept: 7 points lost, no verdict" in text.get_text() for text in panel.texts)


def test_points_by_frequency_stand_only_where_ten_points_were_lost(study):
    assert arms_of.strata(study, "closed_book_mc", study.cells[-1]) == list(example.STRATA)
    with style.context():
        figure = figures.draw("displaced_frequency", study)
    drawn = {axes.get_title(loc="left"): len(axes.containers) for axes in figure.axes}
    recoveries = sum(arm == "text" for arm, *_ in example.RECOVERIES.values())
    # A bar a third of the facts, and a point a recovery where there is a verdict.
    assert drawn == {
        "magnitude 60 %": 3 + 2 * recoveries,
        "rtn 2 bit": 3 + 3 * recoveries,
        "svd 60 % kept": 3 + recoveries,
    }


def test_what_is_read_unsaid_is_told_from_the_cell_that_leaves_most(study):
    told = found_displaced.unsaid(study)
    assert "reads 60.0 % [52.0, 68.0] of them (by chance 7.0 %)" in told[0]
    assert told[1].startswith("It reads more than chance from 3 of the 3 cells")


def test_twins_are_in_no_figure_or_table(study):
    assert all(example.SWAPPED in names for cell, names in study.recovered.items() if not cell.is_dense)
    assert not any(example.SWAPPED in names for names in study.recoveries.values())
    assert study.has(quantities.RETURNED)


@pytest.mark.parametrize("name", ["displaced", "displaced_frequency", "unsaid"])
def test_a_study_that_knows_too_little_has_a_figure_that_says_so(tmp_path, name):
    folder = example.write(tmp_path / "example")
    metrics = example.metrics()
    metrics[metrics["metric"].isin(["exact_match", "arm"])].to_parquet(folder / "metrics.parquet")
    with style.context():
        figure = figures.draw(name, Tables(folder))
    assert len(figure.texts) == 1 and figure.texts[0].get_text().endswith((": no verdict.", "model knows."))


def test_a_third_of_the_facts_in_which_nobody_stands_has_no_bar(tmp_path):
    folder = example.write(tmp_path / "example")
    metrics = example.metrics()
    empty = metrics["subset"] == example.STRATA[0]
    metrics.loc[empty, ["value", "low", "high"]] = float("nan")
    metrics.to_parquet(folder / "metrics.parquet")
    with style.context():
        figure = figures.draw("displaced_frequency", Tables(folder))
    assert len(figure.axes[1].patches) == 2


def test_a_cell_that_leaves_one_fact_of_an_attribute_unsaid_has_no_chance_to_compare_with(tmp_path):
    folder = example.write(tmp_path / "example")
    metrics = example.metrics()
    metrics.loc[(metrics["metric"] == "unsaid_chance") & (metrics["label"] == "svd"), "value"] = float("nan")
    metrics.to_parquet(folder / "metrics.parquet")
    assert found_displaced.unsaid(Tables(folder))[1].startswith("It reads more than chance from 2 of the 3 cells")
    with style.context():
        figures.draw("unsaid", Tables(folder))
