"""Prompts of several lengths, and choosing among them, are told and drawn whichever way they fall."""

from __future__ import annotations

import prompts_example as example
import pytest
from matplotlib.colors import to_hex

from palimpsest.analysis import prompt_length as slopes
from palimpsest.presentation import available, captions, figures, found_prompts, names, report, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures import choices, prompt_length
from palimpsest.settings import Study

ATLAS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def study(tmp_path):
    return Tables(example.write(tmp_path / "prompts"))


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.03, "it beats the best"), (0.004, "it is not shown to beat"), (-0.03, "it is worse than the best")],
)
def test_dynamic_prompts_are_judged_whichever_way_they_fall(tmp_path, gain, verdict):
    told = found_prompts.dynamic(Tables(example.write(tmp_path / "prompts", gain=gain)))
    assert len(told) == 2 * len(example.CELLS), "a sentence on the paper's choice, and one on the others"
    assert all(verdict in sentence for sentence in told[::2]) and all(
        "idp-random" in sentence for sentence in told[1::2]
    )


def test_the_caption_counts_who_beats_the_best_prompt(tmp_path):
    told = captions.with_findings("choices", Tables(example.write(tmp_path / "prompts", gain=0.013)))
    assert "default options, 3 of 3 recoveries beat the best of their prompts, and worse are 0" in told
    assert "otherwise, 0 of 6 recoveries beat the best of their prompts, and worse are 3" in told


@pytest.mark.parametrize(
    ("slope", "factor", "alone"), [(0.001, 0.98, 3), (0.02, 0.98, 0), (-0.02, 0.98, 3), (0.001, 1.0, 0)]
)
def test_longer_prompts_that_lower_perplexity_alone_are_counted(tmp_path, slope, factor, alone):
    told = found_prompts.lengths(Tables(example.write(tmp_path / "prompts", slope=slope, factor=factor)))
    assert len(told) == len(example.CELLS) + 1
    assert f"in {alone} of 3 cells" in told[-1]
    assert f"closed book by {100 * slope:+.1f} points".replace("-", "−") in told[0]
    assert f"biographies by {factor:.3f} [{factor - 0.01:.3f}, {factor + 0.01:.3f}]" in told[0]


def test_prompts_of_one_length_are_points_of_one_line_and_untrained_ones_are_none(study):
    [lengths, *_] = prompt_length.lengths_of(study).values()
    assert lengths == {"prompt-1": 1, "prompt-4": 4, "prompt-4-again": 4, "prompt-32": 32}
    with style.context():
        panel = figures.draw("prompt_length", study).axes[0]
    points = [container.lines[0].get_ydata() for container in panel.containers]
    assert [len(values) for values in points] == [4, 4, 4]
    curves = [line for line in panel.get_lines() if line.get_linestyle() != "None" and len(line.get_xdata()) == 3]
    assert len(curves) == 3


def test_shares_of_a_bar_fill_it_and_the_mean_of_all_has_none(study):
    with style.context():
        left, right = figures.draw("choices", study).axes
    rows = [label.get_text() for label in left.get_yticklabels()]
    assert rows == ["idp", "idp-mean", "idp-random"] * 3
    ends = {}
    for bar in left.patches:
        ends[bar.get_y()] = max(ends.get(bar.get_y(), 0), bar.get_x() + bar.get_width())
    assert list(ends.values()) == pytest.approx([100] * 6)
    assert sum("mean of all" in text.get_text() for text in left.texts) == 3
    points = [
        (container.lines[0].get_xdata()[0], to_hex(container.lines[0].get_color())) for container in right.containers
    ]
    assert [value for value, _ in points] == pytest.approx([0.4, -1.6, -3.6] * 3)
    assert [color == choices.CHOSEN[0] for _, color in points] == [True, False, False] * 3


def test_only_studies_with_three_lengths_or_with_a_choice_have_these_figures(study, tmp_path):
    assert {"prompt_length", "choices"} <= set(available.figures(study))
    two = example.write(tmp_path / "two", without=("prompt-32", *example.CHOOSING))
    assert not {"prompt_length", "choices"} & set(available.figures(Tables(two)))


def test_the_figures_that_a_study_will_have_are_known_before_it_runs():
    def wanted(*tokens, **more):
        training, cells = {"text": "recovery_R"} | more, ["atlas/rtn/4"]
        prompts = {
            f"prompt-{n}": {"method": "prompt", "options": {"tokens": n}, "training": training, "cells": cells}
            for n in tokens
        }
        idp = {"idp": {"method": "idp", "of": list(prompts), "cells": cells}} if len(tokens) == 2 else {}
        study = Study.model_validate({
            "name": "test", "world": {}, "models": {"atlas": {"source": "world", "architecture": ATLAS}},
            "compression": {"rtn": {"levels": ["4"]}}, "recovery": prompts | idp, "tasks": ["closed_book"],
        })  # fmt: skip
        return {"prompt_length", "choices"} & set(names.figure_names(study))

    assert wanted(1, 2, 4) == {"prompt_length"} and wanted(1, 2) == {"choices"}
    assert wanted(1, 2, 4, cross_fit=True) == {"prompt_length"} and wanted(1, 2, 4, steps=0) == set()
    assert (names.PROMPT, names.FEWEST_LENGTHS) == (slopes.METHOD, slopes.FEWEST)


@pytest.mark.parametrize("name", ["prompt_length", "choices"])
def test_a_study_without_prompts_has_a_figure_that_says_so(tmp_path, name):
    folder = example.write(tmp_path / "none", without=(*example.LENGTHS, *example.CHOOSING))
    with style.context():
        assert len(figures.draw(name, Tables(folder)).texts) == 1


def test_the_reports_contents_name_the_chapter_on_prompts(study, tmp_path, monkeypatch):
    monkeypatch.setattr(available, "figures", lambda tables: ["prompt_length", "choices"])
    monkeypatch.setattr(available, "tables_of", lambda tables: ["choices"])
    report.build(study.folder, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert 'href="#prompts"' in page and "What do longer soft prompts buy" in page
