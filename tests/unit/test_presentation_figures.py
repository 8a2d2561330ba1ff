"""Figures: what they show, that nothing in them covers anything else, and that the same tables give the same bytes."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys

import displaced_example
import presentation_example as example
import probing_example
import prompts_example
import pytest
import representation_example
from matplotlib.text import Text

from palimpsest.grid import Cell
from palimpsest.levels import EXAMPLES
from palimpsest.presentation import available, figures, found_probing, names, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import family, level_title, severity
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import ATLAS, Study

PROBED = ("nli_rate", "selective", "probe_rate", "probe_selectivity", "probe_layers", "probe_heads", "probe_nli",
          "accuracy_cost")  # fmt: skip
RECOVERED = {
    "lora": {"method": "lora", "training": {"text": "recovery_R"}, "cells": ["atlas/magnitude/0.6"]},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Tables(example.write(tmp_path_factory.mktemp("results") / "example"))


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "stories"
    folder.mkdir()
    example.stories().to_parquet(folder / "metrics.parquet")
    example.measurements().query("model == 'nobody'").to_parquet(folder / "measurements.parquet")
    return Tables(folder)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return Tables(example.write_swept(tmp_path_factory.mktemp("results") / "swept"))


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    return Tables(example.write_reading(tmp_path_factory.mktemp("results") / "reading"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Tables(example.write_planted(tmp_path_factory.mktemp("results") / "planted"))


@pytest.fixture(scope="module")
def returning(tmp_path_factory):
    return Tables(displaced_example.write(tmp_path_factory.mktemp("results") / "returning"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return Tables(prompts_example.write(tmp_path_factory.mktemp("results") / "prompts"))


@pytest.fixture(scope="module")
def probing(tmp_path_factory):
    return Tables(probing_example.write(tmp_path_factory.mktemp("results") / "probing"))


@pytest.fixture(scope="module")
def represented(tmp_path_factory):
    return Tables(representation_example.write(tmp_path_factory.mktemp("results") / "represented"))


def words(figure):
    """Every text that is drawn in a figure with the box it covers, in pixels."""
    figure.draw_without_rendering()
    beyond = set()  # labels of ticks outside the axis are kept but not drawn
    for axis in (axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high:
                beyond |= {tick.label1, tick.label2}
    found = []
    for text in set(figure.findobj(Text)) - beyond:
        if text.get_visible() and text.get_text().strip() and (text.axes is None or text.axes.get_visible()):
            found.append((text.get_text(), Text.get_window_extent(text)))
    return [(text, box) for text, box in found if box.width and box.height]


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
@pytest.mark.parametrize("name", [name for name in names.FIGURES if name != "language"])
def test_no_word_covers_another_or_leaves_the_figure(
    study, swept, reading, planted, returning, prompts, represented, probing, name, width
):
    others = {"calibration": swept, "models": swept, "origins": reading, "lengths": reading, "planted": planted}
    others |= dict.fromkeys(("displaced", "displaced_frequency", "recovery", "unsaid"), returning)
    others |= dict.fromkeys(("prompt_length", "choices"), prompts)
    others |= dict.fromkeys(("cka", "logit_lens", "spectra", "sensitivity"), represented)
    others |= dict.fromkeys(PROBED, probing)
    with style.context():
        figure = figures.draw(name, others.get(name, study), width)
        everything = words(figure)
        page = figure.bbox
    assert len(everything) > 5
    for (one, box), (other, second) in itertools.combinations(everything, 2):
        shared = box.intersection(box, second)
        assert shared is None or min(shared.width, shared.height) < 1, f"{one!r} covers {other!r}"
    for text, box in everything:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1, (
            f"{text!r} leaves the figure"
        )


@pytest.fixture(scope="module")
def many_recoveries(tmp_path_factory):
    """Four copies of each recovery, the cells' names and numbers otherwise the same."""
    import pandas

    folder = tmp_path_factory.mktemp("results") / "many"
    folder.mkdir()
    tables = {name: getattr(example, name)() for name in ("metrics", "measurements", "similarity")}
    tables["latency"] = example.rounds().table()
    for name, rows in tables.items():
        again = [rows[rows["recovery"] != "none"].assign(recovery=lambda some, end=end: some["recovery"] + end)
                 for end in ("-a", "-b", "-merged")]  # fmt: skip
        pandas.concat([rows, *again]).to_parquet(folder / f"{name}.parquet")
    return Tables(folder)


@pytest.mark.parametrize("name", ["cost", "latency", "regimes", "heads"])
def test_eight_recoveries_of_three_cells_can_be_read(many_recoveries, name):
    assert [len(names) for names in many_recoveries.recoveries.values()] == [8, 8, 8]
    with style.context():
        for width in (style.WIDE, style.NARROW):
            figure = figures.draw(name, many_recoveries, width)
            for (one, box), (other, second) in itertools.combinations(words(figure), 2):
                shared = box.intersection(box, second)
                assert shared is None or min(shared.width, shared.height) < 1, f"{one!r} covers {other!r}"
            if name != "heads":
                assert {"lora-r4-merged", "prompt-32-b"} <= {text for text, _ in words(figure)}


def test_merged_adapters_are_hollow_beside_their_own(study):
    with style.context():
        figure = figures.draw("latency", study)
    points = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert [(point.get_xdata()[0], point.get_markerfacecolor()) for point in points] == [
        (pytest.approx(1.6), "#0072b2"), (pytest.approx(1.02), "none"),
    ]  # fmt: skip


def test_a_map_has_each_heads_own_number(study):
    from palimpsest.presentation.figures.heads import heads

    cell = next(cell for cell in study.recoveries if cell.label == "rtn")
    found, rows = heads(study, cell, "lora-r4"), study.similarity
    assert found.shape == (4, 4)
    chosen = rows[(rows.label == "rtn") & (rows.recovery == "lora-r4") & (rows.metric == "attention_js_towards_dense")]
    assert found[2, 1] == chosen[(chosen.layer == "3") & (chosen.subset == "head 1")].value.item()


def test_a_recovery_that_was_not_compared_stops_the_figure_and_is_named(tmp_path):
    folder = example.write(tmp_path / "example")
    example.similarity().query("recovery != 'lora-r4'").to_parquet(folder / "similarity.parquet")
    with pytest.raises(PalimpsestError, match=r"attention_js_to_dense is missing for atlas/magnitude/0.6/s0/lora-r4"):
        figures.draw("regimes", Tables(folder))


def test_same_tables_give_the_same_bytes_in_another_process(study, tmp_path):
    outputs = [tmp_path / "here.pdf", tmp_path / "here.png", tmp_path / "here.svg"]
    with style.context():
        style.save(figures.draw("recovery", study), *outputs)
    again = [str(path).replace("here", "there") for path in outputs]
    command = [
        sys.executable,
        "scripts/figure.py",
        "--name",
        "recovery",
        "--tables",
        str(study.folder),
        "--output",
        *again,
    ]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    for first, second in zip(outputs, again, strict=True):
        with open(second, "rb") as file:
            assert first.read_bytes() == file.read(), first.suffix
    assert b"CreationDate" not in outputs[0].read_bytes() and b"<dc:date>" not in outputs[2].read_bytes()


def test_methods_differ_without_their_colours():
    looks = style.looks(
        [(method, method) for method in style.METHODS] + [(f"new{index}", f"new{index}") for index in range(5)]
    )
    markers = [look.marker for look in looks.values()]
    assert len(set(markers)) == len(markers)


def test_a_methods_second_label_is_hollow_and_of_the_same_hue():
    looks = style.looks([("gptq", "gptq"), ("gptq-actorder", "gptq")])
    first, second = looks["gptq"], looks["gptq-actorder"]
    assert (second.color, second.face, first.face) == (first.color, "none", first.color) and second.line != first.line


def test_as_many_labels_of_a_method_as_a_figure_may_have_are_told_apart():
    labels = [(f"wanda{number}", "wanda") for number in range(names.MOST_OF_A_METHOD)]
    looks = [look for label, look in style.looks(labels).items() if label != "dense"]
    assert len({look.fill for look in looks}) == len({look.line for look in looks}) == len(labels)


@pytest.mark.parametrize(("name", "most"), [("knowledge_bits", 12), ("knowledge_vs_perplexity", 24)])
def test_of_many_cells_only_the_telling_ones_are_named(tmp_path, name, most):
    import pandas

    folder = tmp_path / "many"
    folder.mkdir()
    for table in ("metrics", "measurements"):
        rows = getattr(example, table)()
        cells = rows[rows["label"] != "dense"]
        again = [cells.assign(label=cells["label"] + end) for end in ("-again", "-more")]
        pandas.concat([rows, *again]).to_parquet(folder / f"{table}.parquet")
    with style.context():
        drawn = words(figures.draw(name, Tables(folder)))
    named = [text for text, _ in drawn if re.search(r"\d (%|bit)|2:4|kept$", text)]
    assert 0 < len(named) <= most < 3 * 19
    assert all(re.match(r"[a-z-]+ ", text) for text in named), "by label and level"


def test_a_missing_cell_stops_the_figure_and_is_named(tmp_path):
    folder = example.write(tmp_path / "example")
    metrics = example.metrics()
    gone = (metrics["label"] == "wanda") & (metrics["level"] == "2:4") & (metrics["task"] == "open_book")
    metrics[~gone].to_parquet(folder / "metrics.parquet")
    with pytest.raises(
        PalimpsestError, match=r"open_book/one/exact_match is missing for 1 of 20 cells: atlas/wanda/2-4/s0"
    ):
        figures.draw("accuracy", Tables(folder))


def test_a_probe_with_too_few_people_is_said_so_and_drawn_empty(tmp_path):
    folder = example.write(tmp_path / "example")
    example.probes().assign(value=float("nan"), low=float("nan"), high=float("nan"), n=0).to_parquet(
        folder / "probes.parquet"
    )
    with style.context():
        figure = figures.draw("probes", Tables(folder))
    assert {text for text, _ in words(figure)} >= {"no numbers"}
    assert found_probing.still_held(Tables(folder)) == [
        "The study has too few people for the probe of attribute value."
    ]


def test_a_number_that_stands_there_twice_is_an_error(tmp_path):
    import pandas

    folder = example.write(tmp_path / "example")
    metrics = example.metrics()
    twice = metrics[(metrics["label"] == "rtn") & (metrics["metric"] == "knowledge_bits")]
    pandas.concat([metrics, twice]).to_parquet(folder / "metrics.parquet")
    with pytest.raises(PalimpsestError, match=r"knowledge_bits of atlas/rtn/.* stands there twice"):
        figures.draw("knowledge_bits", Tables(folder))


def test_a_study_without_a_world_has_the_figures_that_apply(stories):
    assert available.figures(stories) == ["flips", "language"]
    with style.context():
        figure = figures.draw("language", stories)
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert [title for title in titles if title] == ["TinyStories", "WikiText-2", "BLiMP"]


def study_settings(**changes):
    return Study.model_validate({
        "name": "test",
        "world": {},
        "models": {"atlas": {"source": "world", "architecture": ATLAS}},
        "calibration": {name: {"text": name} for name in ("generic", "biographies_half_a", "biographies_half_b")},
        "compression": {"rtn": {"levels": ["4"]}},
        "recovery": {"lora": {"method": "lora", "training": {"text": "recovery_R"}, "cells": ["atlas/rtn/4"]}},
        "tasks": ["closed_book", "closed_book_mc", "perplexity"],
        "probes": ["attribute_value"],
    } | changes)  # fmt: skip


def test_names_follow_from_the_study():
    embedded = names.figure_names(study_settings())
    lost = ["accuracy", "knowledge_vs_perplexity", "knowledge_bits", "flips"]
    recovered = ["recovery", "displaced", "displaced_frequency"]
    assert embedded == [*lost, *recovered, "cost", "latency", "probes", "unsaid", "accuracy_cost", "time"]
    assert {"regimes", "heads"} <= set(names.figure_names(study_settings(similarity={})))
    compared = study_settings(representation={"sensitivity": {"cells": ["atlas/rtn/4"]}})
    assert {"cka", "logit_lens", "spectra", "sensitivity"} <= set(names.figure_names(compared))
    assert "spectra" in names.table_names(compared)
    without = study_settings(tasks=["blimp", "perplexity_wikitext2"], recovery={}, probes=[])
    assert names.figure_names(without) == ["flips", "accuracy_cost", "language", "time"]
    assert names.table_names(without) == ["cells", "flips", "matching", "tasks", "claims", "time"]


def test_a_sweep_over_calibrations_and_a_second_model_have_figures_of_their_own():
    def wanda(*texts):
        return study_settings(compression={"wanda": {"levels": ["0.5"], "calibration": list(texts)}}, recovery={})

    assert "calibration" not in names.figure_names(wanda("generic"))
    swept = wanda("generic", "biographies_half_a")
    assert "calibration" in names.figure_names(swept) and "calibration" not in names.table_names(swept)
    assert "calibration" in names.table_names(wanda("biographies_half_b", "biographies_half_a"))
    atlas = {"source": "world", "architecture": ATLAS}
    two = study_settings(models={"atlas": atlas, "outlier": {"source": "outliers", "of": "atlas"}})
    assert "models" in names.figure_names(two)


def test_planted_models_that_are_recovered_have_a_figure():
    atlas, fork = {"source": "world", "architecture": ATLAS}, {"source": "forked", "of": "atlas"}
    lora = {"method": "lora", "training": {"text": "recovery_R"}}
    for cell, drawn in (("fork/dense/full", True), ("atlas/dense/full", False)):
        recovery = {"lora": lora | {"cells": [cell]}}
        study = study_settings(models={"atlas": atlas, "fork": fork}, compression={}, recovery=recovery)
        assert ("planted" in names.figure_names(study)) == drawn


def test_a_study_with_more_cells_than_a_figure_can_hold_has_them_in_its_tables():
    levels = [f"{bits}g{group}" for bits in range(2, 9) for group in (16, 32, 64, 96, 128, 192, 256)]
    many = study_settings(compression={"rtn": {"levels": levels}}, recovery={})
    assert len(levels) == names.MOST_CELLS + 1
    assert "flips" not in names.figure_names(many) and "flips" in names.table_names(many)
    assert "accuracy" in names.figure_names(many)
    labels = {f"rtn{number}": {"method": "rtn", "levels": ["4"]} for number in range(names.MOST_OF_A_METHOD + 1)}
    assert "accuracy" not in names.figure_names(study_settings(compression=labels, recovery={}))


def test_every_answer_comes_from_somewhere(reading):
    with style.context():
        figure = figures.draw("origins", reading)
    for panel in filter(lambda axes: axes.get_visible(), figure.axes):
        ends = {}
        for bar in panel.patches:
            ends[round(bar.get_y(), 3)] = max(ends.get(round(bar.get_y(), 3), 0), bar.get_x() + bar.get_width())
        assert list(ends.values()) == pytest.approx([100] * len(reading.cells))


def test_what_length_adds_is_drawn_for_every_cell_or_said_to_be_unknown(reading, tmp_path):
    with style.context():
        panels = figures.draw("lengths", reading).axes
        assert [panel.get_title(loc="left") for panel in panels] == ["More people", "More words"]
        assert all(len(panel.containers) == len(reading.cells) - 2 for panel in panels)
        example.reading().query("metric != 'length_interaction'").to_parquet(tmp_path / "metrics.parquet")
        assert [text for text, _ in words(figures.draw("lengths", Tables(tmp_path)))] == [
            "No dense model reads two of the lengths."
        ]


def test_figures_of_reading_are_those_of_its_study(reading):
    assert {"origins", "lengths"} <= set(available.figures(reading))
    tasks = ["open_book_contradiction", "closed_book_distracted", "open_book_absent", "biography", "open_book_length"]
    assert {"origins", "lengths"} <= set(names.figure_names(study_settings(tasks=tasks)))
    assert not {"origins", "lengths"} & set(names.figure_names(study_settings()))


def test_figures_of_the_tables_are_those_of_the_study(study, swept):
    grid = {label: {"levels": list(levels)} for label, levels in example.GRID.items()}
    tasks = ["closed_book", "closed_book_mc", "entailment", "perplexity"]
    named = names.figure_names(study_settings(compression=grid, recovery=RECOVERED, similarity={}, tasks=tasks))
    assert available.figures(study) == [name for name in named if name != "probe_nli"], "the example has no changes"
    assert available.figures(swept) == ["calibration", "models"]
    assert available.tables_of(swept) == ["cells", "tasks", "calibration"]


def test_names_cost_no_heavy_import():
    heavy = "{'matplotlib', 'pandas', 'torch', 'numpy'}"
    code = f"import sys, palimpsest.presentation.names; print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == ""


def test_every_figure_has_a_caption_a_module_and_a_source_digest_of_its_own():
    from palimpsest.presentation import captions

    assert all(len(captions.caption(name)) > 80 and figures.module(name).TITLE for name in names.FIGURES)
    assert len({names.figure_source(name) for name in names.FIGURES}) == len(names.FIGURES)


def test_levels_go_from_mild_to_harsh():
    levels = ["2:4", "2", "k0.6", "0.6", "4", "k0.8", "0.5", "3", "4g128"]
    assert sorted(levels, key=severity) == ["0.5", "0.6", "2:4", "4g128", "4", "3", "2", "k0.8", "k0.6"]
    assert [level_title(level) for level in ("0.5", "2:4", "4g128", "k0.8")] == [
        "50 %",
        "2:4",
        "4 bit g128",
        "80 % kept",
    ]


def test_every_kind_of_level_has_a_family_an_order_and_a_title():
    levels = [level for some in EXAMPLES.values() for level in some]
    assert sorted(levels, key=severity)
    assert {family(Cell("atlas", "x", "x", level, 0)) for level in levels} <= set(style.FAMILIES.values())
    assert [level_title(level) for level in ("r0.1", "0.5+4g128", "nf4")] == ["rank 10 %", "50 % + 4 bit g128", "nf4"]
