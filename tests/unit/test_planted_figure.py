"""The figure of planted truths: a line a recovery and model, points on the truth, and no verdicts made up."""

from __future__ import annotations

import pandas
import presentation_example as example
import pytest
from matplotlib.text import Text

from palimpsest.presentation import found_planted, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures import planted
from palimpsest.provenance import PalimpsestError


@pytest.fixture
def tables(tmp_path):
    return Tables(example.write_planted(tmp_path))


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
def test_there_is_a_line_a_recovery_and_model_and_it_lies_where_the_metrics_say(tables, width):
    with style.context():
        figure = planted.draw(tables, width)
        figure.draw_without_rendering()
    calibration, power = figure.axes
    drawn = [line for line in power.lines if len(line.get_xdata()) in (1, 5)]
    assert len(drawn) == 4
    lines = [container.lines[0] for container in calibration.containers]
    assert sorted(len(line.get_xdata()) for line in lines) == [1, 5, 5, 5]
    longest = next(line for line in lines if len(line.get_xdata()) == 5)
    assert list(longest.get_xdata()) == pytest.approx([0, 25, 50, 75, 100])
    assert list(longest.get_ydata()) == pytest.approx([0, 22.5, 45, 67.5, 90])
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"lora-r4", "prompt-8", "on displaced-a", "on displaced-b", "on locked-a", "on fork-a"} <= texts


def test_recoveries_have_colours_of_their_own_and_models_markers_of_their_own(tables):
    with style.context():
        figure = planted.draw(tables)
    drawn = [container.lines[0] for container in figure.axes[0].containers]
    # Recoveries and their models by name: lora-r4 on displaced-a, displaced-b, fork-a; prompt-8 on locked-a.
    colors, markers = ([getattr(line, f"get_{what}")() for line in drawn] for what in ("color", "marker"))
    assert colors[0] == colors[1] == colors[2] != colors[3]
    assert len(set(markers)) == 4


def test_a_study_without_planted_models_is_told_so(tmp_path):
    pandas.DataFrame(example.planted_rows("atlas", "lora-r4")).assign(metric="acc").to_parquet(
        tmp_path / "metrics.parquet"
    )
    with pytest.raises(PalimpsestError, match="no planted_delta of closed_book"), style.context():
        planted.draw(Tables(tmp_path))


def test_each_recovery_has_a_sentence_with_its_slope_and_power(tables, tmp_path):
    own = tables.metrics[tables.metrics["model"] == "locked-a"]
    values = {
        ("displaced", "planted_delta"): 0.9, ("displaced", "planted_truth"): 1.0, ("erased", "planted_delta"): -0.01,
        ("all", "planted_slope"): 0.9, ("erased", "planted_null"): 0.94,
    }  # fmt: skip
    more = [
        own.iloc[0].to_dict() | {"subset": subset, "metric": metric, "value": v, "low": v - 0.1, "high": v + 0.1}
        for (subset, metric), v in values.items()
    ]
    pandas.concat([own, pandas.DataFrame(more)]).to_parquet(tmp_path / "metrics.parquet")
    (sentence,) = found_planted.calibration(Tables(tmp_path))
    assert sentence == (
        "prompt-8 on locked-a brought back 90 % [80, 100] where 100 % was only displaced, −1 % [−11, 9] where nothing "
        "could; slope 0.90 [0.80, 1.00], power at a share of one half 100 %; after 60 new deals of the erased values "
        "the interval held 0 in 94 % [84, 104]."
    )
