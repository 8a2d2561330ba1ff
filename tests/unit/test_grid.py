"""Cells, variants and their paths."""

from __future__ import annotations

import subprocess
import sys

import pytest

from palimpsest import settings
from palimpsest.grid import WILDCARDS, Cell, Grid, Variant
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import Study

ATLAS = {"source": "world", "architecture": settings.ATLAS}


@pytest.fixture
def study() -> Study:
    return Study.model_validate({
        "name": "test",
        "seeds": [0, 1],
        "world": {},
        "models": {"atlas": ATLAS, "small": ATLAS | {"compress": False}, "other": ATLAS},
        "calibration": {"generic": {"text": "generic"}, "prose": {"text": "prose"}},
        "compression": {
            "magnitude": {"levels": ["0.5", "2:4"], "models": ["atlas"]},
            "gptq-actorder": {"method": "gptq", "levels": ["3g64"], "options": {"act_order": True}},
            "wanda": {"levels": ["0.5"], "calibration": "prose", "propagate": False},
        },
        "recovery": {
            "lora": {"method": "lora", "training": {"text": "recovery_R"},
                     "cells": ["atlas/magnitude/2:4", "atlas/wanda/0.5"]},
            "prompt": {"method": "prompt", "training": {"text": "recovery_R"},
                       "cells": ["atlas/magnitude/2-4", "atlas/wanda/0.5/s1", "small/dense/full"]},
        },
        "tasks": ["closed_book"],
    })  # fmt: skip


@pytest.fixture
def grid(study) -> Grid:
    return Grid(study)


def test_every_model_has_its_dense_control_even_one_that_is_not_compressed(grid):
    assert [cell.id for cell in grid.cells() if cell.is_dense] == [
        "atlas/dense/full/s0", "small/dense/full/s0", "other/dense/full/s0",
    ]  # fmt: skip
    assert [cell.id for cell in grid.cells("small")] == ["small/dense/full/s0"]


def test_a_method_that_draws_nothing_runs_once_and_one_with_a_sample_runs_with_each_seed(grid):
    assert [cell.id for cell in grid.cells("atlas")] == [
        "atlas/dense/full/s0",
        "atlas/magnitude/0.5/s0",
        "atlas/magnitude/2-4/s0",
        "atlas/gptq-actorder/3g64/s0",
        "atlas/gptq-actorder/3g64/s1",
        "atlas/wanda/0.5/s0",
        "atlas/wanda/0.5/s1",
    ]


def test_a_label_is_restricted_to_the_models_it_names(grid):
    assert not [cell for cell in grid.cells("other") if cell.label == "magnitude"]


def test_each_cell_is_evaluated_as_it_is_and_with_its_recoveries(grid):
    found = [variant.id for variant in grid.variants() if variant.recovery != "none"]
    assert found == [
        "atlas/magnitude/2-4/s0/lora",
        "atlas/magnitude/2-4/s0/prompt",
        "atlas/wanda/0.5/s0/lora",
        "atlas/wanda/0.5/s1/lora",
        "atlas/wanda/0.5/s1/prompt",
        "small/dense/full/s0/prompt",
    ]
    assert [variant.cell for variant in grid.variants() if variant.recovery == "none"] == grid.cells()


def test_a_cross_fitted_recovery_has_a_twin_trained_on_the_other_pools_text_and_so_has_what_is_made_of_it(study):
    cells = ["atlas/wanda/0.5/s1"]
    crossed = {"method": "prompt", "training": {"text": "recovery_R", "cross_fit": True}, "cells": cells}
    plain = {"method": "prompt", "training": {"text": "recovery_R"}, "cells": cells}
    recovery = {"short": crossed, "long": crossed, "plain": plain}
    recovery |= {
        name: {"method": "idp", "of": ["short", other], "cells": cells}
        for name, other in (("a", "long"), ("b", "plain"))
    }
    grid = Grid(Study.model_validate(study.model_dump() | {"recovery": recovery}))
    names = [variant.recovery for variant in grid.variants() if variant.recovery != "none"]
    assert names == ["short", "short-swapped", "long", "long-swapped", "plain", "a", "a-swapped", "b"]
    twin = grid.recovery(grid.variant("atlas", "wanda", "0.5", 1, "short-swapped"))
    assert twin.training.text == "recovery_U" and twin.options == grid.recoveries["short"].options
    parts = grid.parts(grid.variant("atlas", "wanda", "0.5", 1, "a-swapped"))
    assert [part.recovery for part in parts] == ["short-swapped", "long-swapped"]


def test_paths_read_as_a_sentence():
    cell = Cell("atlas", "gptq", "gptq", "3g64", 0)
    assert cell.id == "atlas/gptq/3g64/s0"
    assert cell.folder("results/embedded") == "results/embedded/cells/atlas/gptq/3g64/s0"
    variant = Variant(cell, "lora-r4")
    assert variant.folder("results/embedded") == "results/embedded/variants/atlas/gptq/3g64/s0/lora-r4"


def test_wildcards_lead_back_to_the_same_cell_and_variant(grid):
    import re

    for cell in grid.cells():
        assert grid.cell(**cell.wildcards) == cell
    for variant in grid.variants():
        assert grid.variant(**variant.wildcards) == variant
        assert all(re.fullmatch(WILDCARDS[name], value) for name, value in variant.wildcards.items())
    assert grid.cell("atlas", "magnitude", "2:4", 0).level == "2:4"


def test_no_two_variants_share_a_folder(grid):
    folders = [variant.folder(grid.results) for variant in grid.variants()]
    assert len(set(folders)) == len(folders)


def test_wildcards_of_no_cell_are_an_error_that_names_the_nearest(grid):
    with pytest.raises(
        PalimpsestError, match=r"study test has no cell atlas/magnitud/0\.5/s0.*atlas/magnitude/0\.5/s0"
    ):
        grid.cell("atlas", "magnitud", "0.5", "s0")
    with pytest.raises(PalimpsestError, match="no variant"):
        grid.variant("atlas", "magnitude", "0.5", "s0", "lora")


def test_only_cells_with_statistics_have_a_calibration_and_its_seed_is_theirs(grid):
    assert grid.calibration(grid.cell("atlas", "magnitude", "0.5", 0)) is None
    assert grid.calibration(grid.cell("atlas", "dense", "full", 0)) is None
    assert grid.calibration(grid.cell("atlas", "gptq-actorder", "3g64", 1)) == ("generic", 1)  # the first one
    assert grid.calibration(grid.cell("atlas", "wanda", "0.5", 0)) == ("prose", 0)
    assert ("other", "prose", 1) in grid.calibrations()
    assert len(grid.calibrations()) == len(set(grid.calibrations())) == 8


def test_a_list_of_calibrations_is_a_label_for_each(study):
    wanda = study.compression["wanda"].model_copy(update={"calibration": ["generic", "prose"]})
    grid = Grid(study.model_copy(update={"compression": {"wanda": wanda}}))
    assert [cell.id for cell in grid.cells("atlas") if not cell.is_dense] == [
        "atlas/wanda-generic/0.5/s0", "atlas/wanda-generic/0.5/s1",
        "atlas/wanda-prose/0.5/s0", "atlas/wanda-prose/0.5/s1",
    ]  # fmt: skip
    cell = grid.cell("atlas", "wanda-prose", "0.5", 1)
    assert cell.method == "wanda" and grid.calibration(cell) == ("prose", 1)
    assert grid.settings(cell)["propagate"] is False and grid.settings(cell)["calibration"] == "prose"


def test_what_makes_a_cell_is_its_method_version_and_options(grid):
    made_of = grid.settings(grid.cell("atlas", "gptq-actorder", "3g64", 0))
    assert made_of["method"] == "gptq" and made_of["options"]["act_order"] is True and made_of["version"]
    assert grid.settings(grid.cell("atlas", "wanda", "0.5", 0))["propagate"] is False


@pytest.fixture
def allocated(study) -> Grid:
    more = study.model_dump(exclude_unset=True) | {
        "allocation": {
            "attention": {"method": "only", "options": {"modules": ["q_proj"]}},
            "spared": {"method": "error", "calibration": "prose", "measured_with": "magnitude"},
            "same": {"method": "uniform"},
        },
        "compression": {
            "magnitude": {"levels": ["0.5", "2:4"], "allocation": "spared"},
            "wanda": {"levels": ["0.5"], "allocation": "spared"},
            "magnitude-owl": {"method": "magnitude", "levels": ["0.5"], "allocation": "owl", "models": ["atlas"]},
            "rtn": {"levels": ["4"], "allocation": "attention"},
            "svd": {"levels": ["k0.5"], "allocation": "same"},
        },
        "recovery": {},
    }
    return Grid(Study.model_validate(more))


def test_a_cell_depends_on_the_seed_if_its_allocation_does(allocated):
    assert [cell.id for cell in allocated.cells("atlas")][1:] == [
        "atlas/magnitude/0.5/s0", "atlas/magnitude/0.5/s1", "atlas/magnitude/2-4/s0", "atlas/magnitude/2-4/s1",
        "atlas/wanda/0.5/s0", "atlas/wanda/0.5/s1", "atlas/magnitude-owl/0.5/s0", "atlas/magnitude-owl/0.5/s1",
        "atlas/rtn/4/s0", "atlas/svd/k0.5/s0",
    ]  # fmt: skip


def test_labels_share_an_allocation_and_uniform_is_none(allocated):
    found = {cell.id: allocated.allocation(cell) for cell in allocated.cells("atlas")}
    assert found["atlas/magnitude/0.5/s1"] == found["atlas/wanda/0.5/s1"] == ("spared", 1)
    assert found["atlas/magnitude-owl/0.5/s0"] == ("owl", 0) and found["atlas/rtn/4/s0"] == ("attention", 0)
    assert found["atlas/svd/k0.5/s0"] is None and found["atlas/dense/full/s0"] is None
    assert allocated.allocation_folder("atlas", "spared", "2:4", 1) == "results/test/allocations/atlas/spared/2-4/s1"


def test_the_calibrations_of_allocations_are_drawn_too(allocated):
    assert allocated.allocation_calibration("owl") == "generic"
    assert allocated.allocation_calibration("attention") is None
    assert set(allocated.calibrations()) == {
        (model, *found)
        for model, names in (("atlas", ("generic", "prose")), ("other", ("generic", "prose")))
        for found in ((name, seed) for name in names for seed in (0, 1))
    }


def test_what_makes_a_cell_includes_its_allocation(study, allocated):
    cell = allocated.cell("atlas", "magnitude", "0.5", 0)
    made_of = allocated.settings(cell)["allocation"]
    versions = {"version", "measured_with_version"}
    assert {key: value for key, value in made_of.items() if key not in versions} == {
        "method": "error", "measured_with": "magnitude", "calibration": "prose", "options": {"weighting": "gradient"},
    }  # fmt: skip
    assert all(made_of[key] for key in versions)
    changed = allocated.study.model_copy(deep=True)
    changed.allocation["spared"].options["weighting"] = "energy"
    assert Grid(changed).settings(cell) != allocated.settings(cell)
    assert Grid(changed).settings(allocated.cell("atlas", "magnitude-owl", "0.5", 0)) == allocated.settings(
        allocated.cell("atlas", "magnitude-owl", "0.5", 0)
    )
    assert Grid(study).settings(Grid(study).cell("atlas", "wanda", "0.5", 0))["allocation"] is None
    assert allocated.allocation_settings("owl", "0.5")["measured_with"] is None
    assert Grid(study.model_copy(update={"allocation": {"e": changed.allocation["spared"].model_copy(
        update={"measured_with": None})}})).allocation_settings("e", "k0.5")["measured_with"] == "svd-llm"  # fmt: skip


def test_a_new_level_leaves_every_other_cell_what_it_was(study, grid):
    more = study.model_copy(deep=True)
    more.compression["magnitude"].levels.append("0.7")
    assert set(Grid(more).cells()) - set(grid.cells()) == {Cell("atlas", "magnitude", "magnitude", "0.7", 0)}


def test_settings_and_grid_load_no_heavy_library_and_quickly():
    code = (
        "import time; start = time.process_time()\n"
        "import palimpsest, palimpsest.settings, palimpsest.grid, palimpsest.checks, sys\n"
        "print(time.process_time() - start)\n"
        "print(*{'torch', 'transformers', 'pandas', 'numpy', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = result.stdout.split("\n")[:2]
    assert heavy == ""
    assert float(seconds) < 0.3


def test_representations_are_compared_of_the_cells_named_and_of_their_dense_models(study):
    assert Grid(study).represented() == [] == Grid(study).spliced()
    asked = {"cells": ["atlas/wanda/0.5"], "sensitivity": {"cells": ["atlas/wanda/0.5/s1", "atlas/magnitude/2-4"]}}
    grid = Grid(Study.model_validate(study.model_dump() | {"representation": asked}))
    assert [cell.id for cell in grid.represented()] == [
        "atlas/dense/full/s0", "atlas/wanda/0.5/s0", "atlas/wanda/0.5/s1",
    ]  # fmt: skip
    assert [cell.id for cell in grid.spliced()] == ["atlas/wanda/0.5/s1", "atlas/magnitude/2-4/s0"]
    every = Grid(Study.model_validate(study.model_dump() | {"representation": {}}))
    assert every.represented() == every.cells() and every.spliced() == []
