"""Figures, tables and sentences of the SVD study: what they show of probes, of entailment, of selective compression."""

from __future__ import annotations

import csv
import io

import pandas
import probing_example as example
import pytest
from matplotlib.colors import to_hex

from palimpsest.presentation import (
    available,
    figures,
    found_probing,
    names,
    probes_of,
    rate_axis,
    report,
    style,
    tables,
)
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables import latex

FIGURES = (
    "nli_rate",
    "selective",
    "probes",
    "probe_rate",
    "probe_selectivity",
    "probe_layers",
    "probe_heads",
    "probe_nli",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return example.write(tmp_path_factory.mktemp("results") / "probing")


@pytest.fixture(scope="module")
def study(folder):
    return Tables(folder)


@pytest.fixture
def without(tmp_path, folder):
    """The example less some rows of a table."""

    def made(name, keep):
        for path in folder.glob("*.parquet"):
            table = pandas.read_parquet(path)
            (table[keep(table)] if path.stem == name else table).to_parquet(tmp_path / path.name)
        return Tables(tmp_path)

    return made


def draw(name, study):
    with style.context():
        figure = figures.draw(name, study)
        figure.draw_without_rendering()
    return figure


def titles(figure):
    return [panel.get_title(loc="left").partition("\n")[0] for panel in figure.axes if panel.get_visible()]


def curves(panel, color):
    """The points of the lines of that colour, markers alone left out."""
    lines = [line for line in panel.lines if to_hex(line.get_color()) == color and line.get_linestyle() != "None"]
    return [list(zip(*line.get_data(), strict=True)) for line in lines]


def test_the_example_has_every_figure_and_table_of_the_study(study):
    assert set(FIGURES) | {"accuracy_cost"} <= set(available.figures(study))
    assert {"probes", "selective"} <= set(available.tables_of(study))


def test_a_rate_is_the_share_of_bytes_that_was_measured_and_allocated_cells_stand_apart(study):
    cells = rate_axis.low_rank(study, "atlas")
    assert {cell.label for cell in cells} == set(example.GRID)
    rates = rate_axis.saved(study, cells)
    assert rates[next(cell for cell in cells if cell.level == "k0.6")] == pytest.approx(40)


def test_every_algorithm_starts_at_the_dense_model_and_falls_with_the_rate(study):
    [panel] = draw("nli_rate", study).axes
    assert titles(panel.figure) == ["entailment, two people"]
    for label in example.GRID:
        first, *rest = curves(panel, study.looks[label].color)[0]
        assert first == pytest.approx((0, 85)) and len(rest) == 3
        assert [round(rate / 10) for rate, _ in rest] == [1, 2, 4]
        wanted = [100 * max(0.5, 0.85 - 0.5 * damage) for damage in example.GRID[label].values()]
        assert [value for _, value in rest] == pytest.approx(wanted)


def test_fine_tuning_after_compression_is_a_line_of_its_own_where_it_is_on_several_rates(study, without):
    [panel] = draw("nli_rate", study).axes
    tuned = curves(panel, study.looks["svd"].color)[1]
    assert [value for _, value in tuned] == pytest.approx([100 * (0.85 - 0.1 * one) for one in (0.1, 0.25, 0.6)])
    assert any("fine-tuned" in text.get_text() for text in panel.figure.legends[0].get_texts())
    once = without("metrics", lambda rows: (rows["recovery"] == "none") | (rows["level"] == "k0.6"))
    assert len(curves(draw("nli_rate", once).axes[0], study.looks["svd"].color)) == 1


def test_an_encoder_that_answers_after_fine_tuning_only_is_shown_with_it(without):
    asked = without("metrics", lambda rows: (rows["recovery"] != "none") | (rows["task"] != "entailment"))
    rows = pandas.read_parquet(asked.folder / "metrics.parquet")
    tuned = rows[rows["recovery"] == "fine-tuned"].iloc[:1].assign(label="dense", method="dense", level="full")
    pandas.concat([rows, tuned]).to_parquet(asked.folder / "metrics.parquet")
    figure = draw("nli_rate", Tables(asked.folder))
    assert titles(figure) == ["entailment, two people, + fine-tuned"]


def test_a_low_rank_cell_that_lacks_the_data_is_named_below_the_figure(study, without):
    gone = without("metrics", lambda rows: ~((rows["label"] == "asvd") & (rows["task"] == "entailment")))
    assert "not asked: asvd 90 % kept, asvd 80 % kept, asvd 60 % kept" in draw("nli_rate", gone).get_supxlabel()
    gone = without("probes", lambda rows: ~((rows["label"] == "asvd") & (rows["level"] == "k0.6")))
    assert "not by all: asvd 60 % kept" in draw("probe_rate", gone).get_supxlabel()
    assert "not " not in draw("probe_rate", study).get_supxlabel()


def test_probes_are_shown_at_the_layer_where_the_dense_model_is_read_best(study):
    figure = draw("probe_rate", study)
    assert titles(figure) == [probes_of.readings(study, "atlas")[place].title for place in range(len(example.PROBES))]
    panel = figure.axes[0]
    assert panel.get_title(loc="left") == "attribute value\nlayer 3"
    rows = example.probes()
    best = rows[(rows["task"] == "attribute_value") & (rows["metric"] == "acc") & (rows["layer"] == "3")]
    wanted = best.set_index(["label", "level"])["value"]
    for label, levels in example.GRID.items():
        [(_, *points)] = curves(panel, study.looks[label].color)
        assert [value for _, value in points] == pytest.approx([100 * wanted[label, level] for level in levels])
    floors = {round(line.get_ydata()[0], 2) for line in panel.lines if to_hex(line.get_color()) == style.EDGE}
    assert {round(100 * wanted["random", "full"], 2), 12.5} <= floors


def test_selectivity_is_drawn_for_the_probes_that_have_a_control_task(study):
    assert titles(draw("probe_selectivity", study)) == ["attribute value", "subject number"]


def test_of_many_cells_the_layers_of_one_rate_are_drawn(study, without):
    figure = draw("probe_layers", study)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {word for word in words if "kept" in word} == {f"{label} 60 % kept" for label in example.GRID}
    few = without("probes", lambda rows: rows["label"].isin(["dense", "random", "svd", "asvd"]))
    words = [text.get_text() for text in draw("probe_layers", few).legends[0].get_texts()]
    assert len([word for word in words if "kept" in word]) == 6


def test_a_panel_of_both_changes_has_a_point_a_cell_and_the_correlation_above(study):
    figure = draw("probe_nli", study)
    assert titles(figure) == ["surface, 12 cells", "syntax, 12 cells", "semantics, 12 cells", "facts, 17 cells"]
    rho = study.metrics[(study.metrics["metric"] == "probe_nli_spearman") & (study.metrics["task"] == "syntax")]
    assert f"ρ = {rho['value'].iloc[0]:.2f} [" in figure.axes[1].get_title(loc="left")
    syntax = figure.axes[1]
    assert len(syntax.containers) == 12


def test_an_allocation_that_costs_more_is_hollow_and_says_how_much(study):
    figure = draw("selective", study)
    panel = figure.axes[0]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["blocks", "laser, +20 %", "mlp"]
    faces = [to_hex(container.lines[0].get_markerfacecolor()) for container in panel.containers]
    assert [face == style.PAPER for face in faces] == [False, True, False]
    values = [container.lines[0].get_xdata()[0] for container in panel.containers]
    assert values == pytest.approx([90 * (0.25 - damage) for damage in (0.4, 0.02, 0.05)])


def test_latency_of_low_rank_cells_is_that_of_two_factors(study):
    first, second, third = draw("accuracy_cost", study).axes
    assert [panel.get_xlabel().partition("\n")[0] for panel in (first, second, third)] == [
        "time to read", "time of a", "bytes on disk",
    ]  # fmt: skip
    color = study.looks["svd"].color
    assert [time for time, _ in curves(first, color)[0]] == pytest.approx(
        [0.6 + 0.5 * kept for kept in (0.9, 0.8, 0.6)]
    )
    assert [size for size, _ in curves(third, color)[0]] == pytest.approx([(1 + 3 * k) / 4 for k in (0.9, 0.8, 0.6)])


def test_the_table_of_probes_has_a_row_a_cell_and_a_column_a_probe(study):
    rows = list(csv.DictReader(io.StringIO(latex.as_csv(tables.make("probes", study)))))
    assert [row["label"] for row in rows[:3]] == ["dense", "random weights", "control task"]
    [cell] = [row for row in rows if (row["label"], row["level"]) == ("svd-llm", "k0.6")]
    assert set(example.PROBES) <= set(cell) and all(float(cell[f"{probe}_low"]) > 0 for probe in example.PROBES)
    [pruned] = [row for row in rows if row["label"] == "wanda"]
    assert pruned["attribute_value"] and not pruned["tree_depth"], "only the probe of all cells read it"


def test_the_table_of_allocations_starts_each_block_with_uniform(study):
    rows = list(csv.DictReader(io.StringIO(latex.as_csv(tables.make("selective", study)))))
    assert [row["allocation"] for row in rows] == ["uniform", "blocks", "laser", "mlp"]
    assert [float(row["size"]) for row in rows] == pytest.approx([1, 1, 1.2, 1.004])
    assert rows[0]["change"] == "" and float(rows[3]["change_low"]) == pytest.approx(0.16)


def test_sentences_say_which_probes_lose_most_and_which_algorithm_loses_less(study):
    fallen = found_probing.fallen(study)
    assert len(fallen) == 4 and fallen[0].startswith("svd 60 % kept: 11 of 11 probes read less")
    assert "most is lost of attribute value −46.8 points" in fallen[0] and "least of tense" in fallen[0]
    sentences = found_probing.algorithms(study)
    [weighted] = [one for one in sentences if one.startswith("At 60 % kept, fwsvd")]
    assert "loses less than svd on 0 of 11 probes, and more on 4" in weighted and "attribute value −2.3" in weighted
    [whitened] = [one for one in sentences if one.startswith("At 60 % kept, svd-llm")]
    assert "on 11 of 11 probes, and more on 0 (intervals without zero); entailment, two people +12.5" in whitened
    assert "they fall together" in found_probing.with_inference(study)[1]
    [spent] = found_probing.allocated(study)
    assert "of 2 other ways to spend as much 1 keep more and 1 less" in spent and "mlp, +18.0" in spent


def test_a_study_without_changes_or_low_rank_says_nothing_of_them(without):
    pruned = without("probes", lambda rows: rows["label"].isin(["dense", "random", "wanda"]))
    assert found_probing.fallen(pruned) == found_probing.algorithms(pruned) == []
    assert "probe_rate" not in available.figures(pruned)
    with style.context():
        [words] = figures.draw("probe_rate", pruned).texts
    assert words.get_text() == "No probe read a low-rank cell."


def test_probes_of_heads_are_a_map_and_no_curve_since_a_layer_has_many(study):
    assert "truth_heads" not in {reading.task for reading in probes_of.readings(study, "atlas")}
    figure = draw("probe_heads", study)
    *maps, _ = figure.axes
    names = [panel.get_title(loc="left") or panel.get_title() for panel in maps]
    assert names == ["atlas dense", *(f"{label} 60 % kept" for label in ("svd", "svd-llm", "fwsvd", "asvd"))]
    dense, svd = (panel.images[0].get_array().tolist() for panel in maps[:2])
    assert dense[1] == pytest.approx([60, 70, 80]), "the second block, from below"
    assert svd[1] == pytest.approx([54, 58, 62]) and svd[:1] + svd[2:] == 3 * [[50, 50, 50]]


def test_the_report_answers_what_the_representations_hold_and_whether_to_be_selective(study):
    sections = {section.id: section for section in report.sections(study)}
    held = sections["probes"]
    assert held.figures == [
        "probes",
        "probe_rate",
        "probe_selectivity",
        "probe_layers",
        "probe_heads",
    ] and held.tables == ["probes"]
    assert any("svd 60\u00a0% kept: 11 of 11" in sentence for sentence in held.sentences)
    assert "11 of 11 probes read more from atlas, dense, than from random weights (intervals apart)." in held.sentences
    assert sections["inference"].figures == ["probe_nli"] and sections["inference"].sentences
    assert sections["selective"].figures == sections["selective"].tables == ["selective"]


def test_measured_figures_are_marked_as_differing_between_runs():
    assert "accuracy_cost" in names.MEASURED and "probe_rate" not in names.MEASURED
