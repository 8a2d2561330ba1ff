"""Figures, table and sentences of representation change say what the rows say."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import representation_example as example

from palimpsest.presentation import available, figures, found_represented, represented, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures import cka, sensitivity, spectra
from palimpsest.presentation.tables import make
from palimpsest.provenance import PalimpsestError


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Tables(example.write(tmp_path_factory.mktemp("results") / "represented"))


def cell(study, label, level):
    return next(c for c in represented.cells_of(study, "cka") if (c.label, c.level) == (label, level))


def test_random_weights_are_no_cell_of_the_study_and_stand_last(study):
    assert [c.label for c in represented.cells_of(study, "cka")] == ["dense", "svd", "svd", "random"]
    assert "random" not in {c.label for c in study.cells}
    assert represented.titles(study, represented.cells_of(study, "cka")) == [
        "dense", "svd 80 % kept", "svd 60 % kept", "random weights",
    ]  # fmt: skip
    assert {"cka", "logit_lens", "spectra", "sensitivity"} <= set(available.figures(study))
    assert "spectra" in available.tables_of(study)


def test_a_map_has_the_dense_models_layers_upwards_and_the_cells_to_the_right(study):
    found, rows = cka.layers(study, cell(study, "svd", "k0.6")), study.representation
    rows = rows[(rows.metric == "cka") & (rows.level == "k0.6")]
    assert found.shape == (5, 5)
    chosen = rows[(rows["subset"] == "dense layer 1") & (rows.layer == "3")]
    assert found[1, 3] == chosen.value.item() != found[3, 1]
    with style.context():
        panels = figures.draw("cka", study).axes
    images = [panel.images[0] for panel in panels if panel.images]
    assert {image.get_clim() for image in images} == {(0, 1)} and len(images) == 4


def test_a_matrix_has_its_own_number_and_one_that_may_be_zero_is_grey(study):
    found = sensitivity.Map.of(study, cell(study, "svd", "k0.6"), "sensitivity_kl", "perplexity")
    assert found.matrices == list(example.MATRICES) and found.values.shape == (4, 7)
    assert found.values[1, 2] == pytest.approx(1000 * 0.3 / 2 * 3 / 10) and found.certain[1, 2]
    assert found.values[0, 0] == 0 and not found.certain[0, 0]
    with style.context():
        panels = figures.draw("sensitivity", study).axes
        probes = [panel for panel in panels if panel.images][-2:]
        colors = {text.get_text(): text.get_color() for panel in probes for text in panel.texts}
    assert colors["−1.0"] == style.EDGE and colors["29"] != style.EDGE
    assert len({panel.images[0].get_clim() for panel in probes}) == 1


def test_all_probes_share_one_scale_whatever_one_of_them_lost(tmp_path):
    folder = example.write(tmp_path / "two")
    metrics = pandas.read_parquet(folder / "metrics.parquet")
    frozen = metrics[metrics.metric == "sensitivity_probe_frozen"]
    little = frozen.assign(task="word_content", value=frozen.value / 50)
    pandas.concat([metrics, little]).to_parquet(folder / "metrics.parquet")
    with style.context():
        panels = [panel for panel in figures.draw("sensitivity", Tables(folder)).axes if panel.images]
    assert len({panel.images[0].get_clim() for panel in panels[4:]}) == 1 and len(panels) == 8


def test_ranks_are_those_of_the_rows_in_figure_table_and_sentence(study):
    dense = cell(study, "dense", "full")
    weight = 100 * spectra_of("weight")
    assert spectra.by_matrix(study, dense)["v_proj"]["weight"] == pytest.approx([weight] * 4)
    table = make("spectra", study)
    assert len(table.rows) == 4 * (1 + len(example.MATRICES))
    assert table.rows[0]["weight_effective_rank_share"] == pytest.approx(weight)
    assert f"{weight:.0f} % of the full rank in weights" in " ".join(found_represented.found(study))


def spectra_of(part):
    from palimpsest.representation.spectra import effective_rank

    return effective_rank(example.spectrum(part, 0)) / example.FULL


def test_sentences_name_the_layer_and_the_matrix_that_matter_most(study):
    alike, _, matters = found_represented.found(study)
    assert "svd 60 % kept 0.70 [0.69, 0.71] at the last layer; random weights 0.20" in alike
    assert "v_proj of block 1 matters most" in matters and "0.090 [0.089, 0.091] nats" in matters
    assert "all together cost 0.300 [0.290, 0.310]" in matters


def test_a_study_that_compares_no_representations_has_none_of_this(tmp_path):
    import presentation_example

    tables = Tables(presentation_example.write(tmp_path / "plain"))
    assert not {"cka", "logit_lens", "spectra", "sensitivity"} & set(available.figures(tables))
    assert found_represented.found(tables) == []


def test_what_is_missing_is_named(tmp_path):
    folder = example.write(tmp_path / "gone")
    metrics = pandas.read_parquet(folder / "metrics.parquet")
    gone = (metrics.scoring == "cka") & (metrics.metric == "cka") & (metrics.level == "k0.6")
    metrics[~gone].to_parquet(folder / "metrics.parquet")
    with pytest.raises(PalimpsestError, match=r"perplexity/cka/cka is missing for atlas/svd/k0.6/s0"):
        figures.draw("cka", Tables(folder))
    (folder / "spectra" / "atlas" / "dense" / "full" / "s0.parquet").unlink()
    with pytest.raises(PalimpsestError, match=r"s0.parquet: there is no such file"):
        figures.draw("spectra", Tables(folder))


def test_a_large_models_maps_have_no_words_in_them(tmp_path):
    folder = example.write(tmp_path / "deep")
    metrics = pandas.read_parquet(folder / "metrics.parquet")
    deep = [metrics]
    rows = metrics[metrics.scoring == "sensitivity"]
    for more in (4, 8, 12, 16):
        deep.append(
            rows[rows.layer != "all"].assign(layer=lambda r, more=more: (r.layer.astype(int) + more).astype(str))
        )
    pandas.concat(deep).to_parquet(folder / "metrics.parquet")
    with style.context():
        panels = [panel for panel in figures.draw("sensitivity", Tables(folder)).axes if panel.images]
    assert all(np.shape(panel.images[0].get_array()) == (20, 7) and not panel.texts for panel in panels)
