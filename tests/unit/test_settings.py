"""A study that cannot run is refused before any job starts, with what would be right."""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from palimpsest import schema, settings
from palimpsest.checks import references
from palimpsest.checks.problems import StudyError
from palimpsest.provenance import PalimpsestError

ROOT = Path(__file__).parent.parent.parent
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))]
GONE = object()


@pytest.fixture
def study() -> dict:
    """A study with one of everything, as YAML gives it."""
    return yaml.safe_load("""
        name: test
        world: {people: 40}
        models:
          atlas:
            source: world
            architecture: {hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4, intermediate_size: 384}
            training: {warmup_steps: 100}
          small:
            source: world
            architecture: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 128}
            compress: false
        calibration:
          generic: {text: generic}
        allocation:
          some: {method: only, options: {modules: [q_proj], blocks: [0]}}
          spared: {method: error}
        compression:
          magnitude: {levels: ["0.5", "0.6", "2:4"]}
          wanda: {levels: ["0.5", "2:4"], calibration: generic, allocation: spared}
          gptq: {levels: ["4", "3"]}
          svd: {levels: ["k0.8"], allocation: some}
        recovery:
          lora-r4:
            method: lora
            options: {rank: 4}
            training: {text: recovery_R, validation: recovery_V}
            cells: [atlas/magnitude/0.6, "atlas/magnitude/2:4"]
        tasks: [closed_book, perplexity]
        probes: {attribute_value: {}}
    """)


@pytest.fixture(autouse=True)
def some_tasks(monkeypatch, request):
    """The checks of names do not depend on which tasks this version has."""
    if "shipped" not in request.node.name:
        known = {"closed_book": True, "closed_book_mc": True, "perplexity": True, "blimp": False}
        monkeypatch.setattr(references, "tasks", lambda: known)


def changed(study: dict, path: str, value: object) -> dict:
    study = copy.deepcopy(study)
    holder, *keys = study, *path.split("/")
    for key in keys[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = value
    return study


def complaint(study: dict) -> StudyError:
    with pytest.raises(StudyError) as caught:
        settings.load(study, "my.yaml")
    return caught.value


# what is changed, the new value, where the error is said to be, what its message says
BAD = [
    # levels
    ("compression/wanda/levels", ["0.5", 1.2], "compression.wanda.levels[1]", r"sparsity 1\.2 is not in \[0, 1\)"),
    ("compression/wanda/levels", [0.5, 124], "compression.wanda.levels[1]", 'quote it: "2:4"'),
    ("compression/wanda/levels", ["4:2"], "compression.wanda.levels[0]", "N of every M"),
    ("compression/gptq/levels", [1], "compression.gptq.levels[0]", "bits 1 is not in 2 to 8"),
    ("compression/gptq/levels", ["4", "0.5"], "compression.gptq.levels[1]", 'gptq does not take "0.5".*bits "4"'),
    ("compression/svd/levels", ["0.8"], "compression.svd.levels[0]", 'it takes kept share "k0.8"'),
    ("compression/wanda/levels", ["full"], "compression.wanda.levels[0]", "dense control"),
    ("compression/wanda/levels", ["0.5", ".50"], "compression.wanda.levels[1]", "stands twice"),
    ("compression/wanda/levels", "0.5", "compression.wanda.levels", "not a list"),
    ("compression/wanda/levels", [], "compression.wanda.levels", "is empty"),
    ("compression/wanda", ["0.5"], "compression.wanda", "not a mapping"),
    ("compression/wanda", None, "compression.wanda", "null is not a mapping"),
    # methods, options, calibrations, models of a label
    ("compression/wnda", {"levels": ["0.5"]}, "compression.wnda.method", "Did you mean wanda"),
    ("compression/gptq-act", {"levels": ["4"]}, "compression.gptq-act.method", "Did you mean gptq"),
    ("compression/x", {"method": "gtpq", "levels": ["4"]}, "compression.x.method", "Methods: .*Did you mean gptq"),
    ("compression/gptq/options", {"act_ordr": True}, "compression.gptq.options.act_ordr", "Did you mean act_order"),
    ("compression/gptq/options", {"act_order": "yes"}, "compression.gptq.options.act_order", "not of the kind"),
    ("compression/gptq/calibration", "genric", "compression.gptq.calibration", "Did you mean generic"),
    ("compression/magnitude/calibration", "generic", "compression.magnitude.calibration", "leave this key out"),
    ("compression/svd/calibration", ["generic"], "compression.svd.calibration", "leave this key out"),
    ("compression/gptq/calibration", ["generic", "genric"], "compression.gptq.calibration[1]", "Did you mean generic"),
    ("compression/gptq/calibration", ["generic", "generic"], "compression.gptq.calibration[1]", "stands twice"),
    ("compression/gptq/calibration", [], "compression.gptq.calibration", "is empty"),
    ("calibration", GONE, "calibration", "wanda, gptq need statistics"),
    ("compression/gptq/models", ["small"], "compression.gptq.models[0]", "small is a control"),
    ("compression/gptq/models", ["atls"], "compression.gptq.models[0]", "Did you mean atlas"),
    ("compression/gptq/propagate", "yes", "compression.gptq.propagate", "true or false"),
    ("compression/gptq/options", {"damping": 0.0}, "compression.gptq.options.damping", "range: damping is more than 0"),
    # allocations
    ("allocation/x", {"method": "owll"}, "allocation.x.method", "unknown allocation .*Did you mean owl"),
    ("allocation/attention", {}, "allocation.attention.method", "missing, and the name .* is no allocation"),
    ("allocation/owl", {"options": {"outlr": 3.0}}, "allocation.owl.options.outlr", "Did you mean outlier"),
    ("allocation/owl", {"options": {"outlier": -1.0}}, "allocation.owl.options.outlier", "outlier is more than 0"),
    ("allocation/owl", {"options": {"outlier": "5"}}, "allocation.owl.options.outlier", "not of the kind"),
    ("allocation/laser", {"options": {"levels": ["k0.5", "k2"]}}, "allocation.laser.options.levels", "list of levels"),
    ("allocation/sensitivity", {"options": {"shares": [1.5]}}, "allocation.sensitivity.options.shares", "0 and 1"),
    ("allocation/some/options", {}, "allocation.some.options", "only needs modules or blocks"),
    ("allocation/some/options", {"modules": "q_proj"}, "allocation.some.options.modules", "not of the kind"),
    ("allocation/some/options", {"modules": ["o_proj", "qproj"]}, "allocation.some.options.modules[1]", "mean q_proj"),
    ("allocation/some/options", {"modules": ["fc1"]}, "allocation.some.options.modules[0]", "atlas has no module"),
    ("allocation/some/options", {"blocks": [-1]}, "allocation.some.options.blocks", "block numbers, from 0"),
    ("allocation/some/options", {"blocks": [0, 4]}, "allocation.some.options.blocks[1]", "atlas has blocks 0 to 3"),
    ("allocation/some/calibration", "generic", "allocation.some.calibration", "looks at no text: leave this key out"),
    ("allocation/some/measured_with", "svd", "allocation.some.measured_with", "measures no matrix"),
    ("allocation/spared/calibration", "genric", "allocation.spared.calibration", "Did you mean generic"),
    ("allocation/spared/measured_with", "wnda", "allocation.spared.measured_with", "Did you mean wanda"),
    ("allocation/spared/measured_with", "structured", "allocation.spared.measured_with", "compresses whole blocks"),
    ("allocation/spared/measured_with", "rtn", "allocation.spared.measured_with", 'no level "0.5".*wanda is taken'),
    ("allocation/spared/option", {}, "allocation.spared.option", "Did you mean options"),
    ("allocation/uniform", {"method": "owl"}, "allocation.uniform", "is taken"),
    ("allocation/Some", {"method": "owl"}, "allocation.Some", "capitals only"),
    ("compression/gptq/allocation", "spaired", "compression.gptq.allocation", "There are: some, spared, .*mean spared"),
    ("compression/gptq/allocation", "only", "compression.gptq.allocation", "needs options .*modules or blocks"),
    ("compression/nf4", {"levels": ["nf4"], "allocation": "owl"}, "compression.nf4.allocation", "go uniform, only"),
    ("compression/laser", {"levels": ["r0.1"]}, "compression.laser.allocation", "a choice of matrices as well"),
    ("compression/structured", {"levels": ["0.5"], "allocation": "owl"}, "compression.structured.allocation", "share"),
    # names
    ("compression/my label", {"method": "svd", "levels": ["k0.8"]}, 'compression."my label"', "letters, digits"),
    ("compression/..", {"method": "svd", "levels": ["k0.8"]}, 'compression.".."', "becomes part of paths"),
    ("calibration/a\"b'", {"text": "prose"}, 'calibration."a\\"b\'"', "letters, digits"),
    ("compression/dense", {"method": "svd", "levels": ["k0.8"]}, "compression.dense", "is taken"),
    ("compression/SVD", {"method": "svd", "levels": ["k0.8"]}, "compression.SVD", "capitals only"),
    ("name", "../x", "name", "letters, digits"),
    ("name", "store", "name", "is taken"),
    ("name", "x" * 65, "name", "up to 64"),
    ("name", 2024, "name", "not a text"),
    ("name", GONE, "name", "missing"),
    # unknown keys
    ("compression/wanda/levles", ["0.5"], "compression.wanda.levles", "unknown key. Allowed here: method, levels"),
    ("compression/gptq/option", {"act_order": True}, "compression.gptq.option", "Did you mean options"),
    ("models/atlas/architecture/layers", 4, "models.atlas.architecture.layers", "num_hidden_layers"),
    ("seed", [0], "seed", "Did you mean seeds"),
    ("recovery/lora-r4/training/stepz", 5, "recovery.lora-r4.training.stepz", "Did you mean steps"),
    # models
    ("models", {}, "models", "is empty"),
    ("models/atlas/source", "wrld", "models.atlas.source",
     "forked, displaced, locked, fine-tuned, hub. Did you mean world"),
    ("models/atlas", {"path": "models/x"}, "models.atlas.source", "missing"),
    ("models/atlas/architecture/hidden_size", 130, "models.atlas.architecture.hidden_size", "multiple of 8"),
    ("models/atlas/training/warmup_steps", 9999, "models.atlas.training.warmup_steps", "of 1600"),
    ("models/atlas/training/learning_rate", "fast", "models.atlas.training.learning_rate", "not a number"),
    ("models/outlier", {"source": "outliers", "of": "atls"}, "models.outlier.of", "no model.*Did you mean atlas"),
    ("models/outlier", {"source": "outliers"}, "models.outlier.of", "missing"),
    ("models/outlier", {"source": "outliers", "of": "outlier"}, "models.outlier.of", "has the source outliers"),
    ("models/outlier", {"source": "outliers", "of": "atlas", "channels": 129}, "models.outlier.channels", "has 128"),
    ("models/outlier", {"source": "outliers", "of": "atlas", "channels": 0}, "models.outlier.channels", "at least 1"),
    ("models/outlier", {"source": "outliers", "of": "atlas", "scale": 0}, "models.outlier.scale", "more than 0"),
    ("models/outlier", {"source": "outliers", "of": "atlas", "scle": 2}, "models.outlier.scle", "Did you mean scale"),
    ("models/fork", {"source": "forked", "of": "fork"}, "models.fork.of", "has the source forked"),
    ("models/fork", {"source": "forked", "of": "atlas", "half": "c"}, "models.fork.half", "not one of a, b"),
    ("models/moved", {"source": "displaced", "of": "atlas", "reflections": 129}, "models.moved.reflections", "has 128"),
    ("models/moved", {"source": "displaced", "of": "moved"}, "models.moved.of", "trained here or comes from .* forked"),
    ("models/locked", {"source": "locked", "of": "atlas", "password": 0}, "models.locked.password", "at least 1"),
    ("world", GONE, "world", "atlas, small .* cannot be trained without a world"),
    # recoveries
    ("recovery/lora-r4/cells", ["atlas/magnitude/0.7"], "recovery.lora-r4.cells[0]", "Levels of magnitude: 0.5, 0.6"),
    ("recovery/lora-r4/cells", ["atlas/magnitud/0.6"], "recovery.lora-r4.cells[0]", "Did you mean atlas/magnitude/0.6"),
    ("recovery/lora-r4/cells", ["atls/magnitude/0.6"], "recovery.lora-r4.cells[0]", "Models: atlas, small"),
    ("recovery/lora-r4/cells", ["small/magnitude/0.6"], "recovery.lora-r4.cells[0]", "not compressed with"),
    ("recovery/lora-r4/cells", ["atlas/magnitude/0.6/s1"], "recovery.lora-r4.cells[0]", "Seeds of magnitude: s0"),
    ("recovery/lora-r4/cells", ["magnitude"], "recovery.lora-r4.cells[0]", "model/label/level"),
    ("recovery/lora-r4/cells", [], "recovery.lora-r4.cells", "is empty"),
    ("recovery/lora-r4/method", "lara", "recovery.lora-r4.method", "Did you mean lora"),
    ("recovery/lora-r4/options", {"rnk": 4}, "recovery.lora-r4.options.rnk", "Did you mean rank"),
    ("recovery/lora-r4/options", {"rank": 0}, "recovery.lora-r4.options.rank", "at least 1"),
    ("recovery/lora-r4/options", {"modules": "q_proj"}, "recovery.lora-r4.options.modules", "not of the kind"),
    ("recovery/lora-r4/training/text", "recoveryR", "recovery.lora-r4.training.text", "Did you mean recovery_R"),
    ("recovery/lora-r4/training/text", {"pth": "a"}, "recovery.lora-r4.training.text.pth", "Did you mean path"),
    ("recovery/lora-r4/training/steps", 1.5, "recovery.lora-r4.training.steps", "not a whole number"),
    ("recovery/lora-r4/training", GONE, "recovery.lora-r4.training", "lora needs text to train on"),
    ("recovery/lora-r4/of", ["lora-r8"], "recovery.lora-r4.of", "does not look at of"),
    ("recovery/lora-r4/calibration", "generic", "recovery.lora-r4.calibration", "does not look at calibration"),
    ("recovery/lora-r4/training", {"text": "prose", "cross_fit": True}, "recovery.lora-r4.training.cross_fit",
     "must be recovery_R"),
    ("recovery/lora-r4/training/steps", -1, "recovery.lora-r4.training.steps", "at least 0"),
    ("recovery/lora-r4/training/mask", "value", "recovery.lora-r4.training.mask", "values"),
    ("recovery/lora-r4/training/checkpoint_minutes", -1, "recovery.lora-r4.training.checkpoint_minutes", "at least 0"),
    ("recovery/lora-r4/training/text", {"calibration": "genric"}, "recovery.lora-r4.training.text.calibration",
     "Did you mean generic"),
    ("recovery/lora-r4/training", {"text": {"calibration": "generic"}, "mask": "values"},
     "recovery.lora-r4.training.mask", "rows of tokens"),
    ("recovery/lora-r4/options", {"rank": 2, "budget": 4096}, "recovery.lora-r4.options.budget", "either rank or"),
    ("recovery/lora-r4/options", {"budget": 0}, "recovery.lora-r4.options.budget", "a number of parameters"),
    ("recovery/lora-r4/options", {"dropout": 1.0}, "recovery.lora-r4.options.dropout", "below 1"),
    ("recovery/x", {"method": "qlora", "training": {"text": "prose"}, "cells": ["atlas/svd/k0.8"]},
     "recovery.x.cells[0]", "qlora is for quantization; atlas/svd/k0.8/s0 is low rank"),
    ("recovery/none", {"method": "lora", "training": {"text": "prose"}, "cells": ["atlas/svd/k0.8"]},
     "recovery.none", "is taken"),
    ("recovery/x-swapped", {"method": "lora", "training": {"text": "prose"}, "cells": ["atlas/svd/k0.8"]},
     "recovery.x-swapped", "that cross_fit makes"),
    ("recovery/x", {"method": "loftq", "cells": ["atlas/svd/k0.8"]}, "recovery.x.cells[0]",
     "loftq is for quantization; atlas/svd/k0.8/s0 is low rank"),
    ("recovery/x", {"method": "eora", "cells": ["atlas/dense/full"]}, "recovery.x.cells[0]", "is the dense model"),
    ("recovery/x", {"method": "eora", "options": {"rank": 0}, "cells": ["atlas/svd/k0.8"]}, "recovery.x.options.rank",
     "at least 1"),
    ("recovery/x", {"method": "qera", "options": {"moments": "diag"}, "cells": ["atlas/svd/k0.8"]},
     "recovery.x.options.moments", "full or diagonal"),
    ("recovery/x", {"method": "eora", "calibration": "genric", "cells": ["atlas/svd/k0.8"]}, "recovery.x.calibration",
     "Did you mean generic"),
    ("recovery/x", {"method": "merge", "of": ["lora-r5"], "cells": ["atlas/magnitude/0.6"]}, "recovery.x.of[0]",
     "Did you mean lora-r4"),
    # tasks, probes, texts, seeds and the rest
    ("tasks", ["closed_bok"], "tasks[0]", "unknown task .*Did you mean closed_book"),
    ("tasks", ["blimp", "blimp"], "tasks[1]", "stands twice"),
    ("tasks", [], "tasks", "is empty"),
    ("tasks", GONE, "tasks", "missing"),
    ("probes", ["atribute_value"], "probes.atribute_value", "Did you mean attribute_value"),
    ("probes", {"atribute_value": {"rows": 100}}, "probes.atribute_value", "Did you mean attribute_value"),
    ("probes/attribute_value", {"cells": ["atlas/magnitud/0.6"]}, "probes.attribute_value.cells[0]",
     "Did you mean atlas/magnitude/0.6"),
    ("probes/attribute_value", {"only": ["tree_dept"]}, "probes.attribute_value.only[0]", "has no probe"),
    ("probes/attribute_value", {"pooling": ["cls"]}, "probes.attribute_value.pooling", "no \\[CLS\\] token"),
    ("probes/attribute_value", {"classifiers": ["svm"]}, "probes.attribute_value.classifiers[0]", "linear"),
    ("probes/attribute_value", {"rows": 3}, "probes.attribute_value.rows", "at least 10"),
    ("similarity", {"tasks": ["closed_bok"]}, "similarity.tasks[0]", "Did you mean closed_book"),
    ("similarity", {"texts": 3}, "similarity.texts", "at least 10"),
    ("representation", {"tasks": ["perplexty"]}, "representation.tasks[0]", "Did you mean perplexity"),
    ("representation", {"tasks": ["attribute_value"]}, "representation.tasks[0]", "no task or probe of sentences"),
    ("representation", {"cells": ["atlas/svd/k0.7"]}, "representation.cells[0]", "Did you mean atlas/svd/k0.8"),
    ("representation", {"texts": 3}, "representation.texts", "at least 10"),
    ("representation", {"sensitivity": {"cells": ["atlas/dense/full"]}}, "representation.sensitivity.cells[0]",
     "is the dense model"),
    ("representation", {"sensitivity": {"cells": ["atlas/svd/k0.8"], "probes": ["attribute_value"]}},
     "representation.sensitivity.probes[0]", "no probe of sentences 'attribute_value'. It has none"),
    ("measurement", {"context": []}, "measurement.context", "at least one"),
    ("measurement", {"context": [64, 0]}, "measurement.context[1]", "at least 1"),
    ("measurement", {"context": "long"}, "measurement.context", "not a whole number"),
    ("calibration/generic/text", "genric", "calibration.generic.text", "one of generic, prose.*Did you mean generic"),
    ("calibration/generic/text", {"task": "closed_bok"}, "calibration.generic.text.task", "Did you mean closed_book"),
    ("calibration/generic/text", {"task": "attribute_value"}, "calibration.generic.text.task", "unknown task"),
    ("calibration/generic/text", {"tsk": "closed_book"}, "calibration.generic.text.tsk", "unknown key"),
    ("calibration/generic/text", 7, "calibration.generic.text", "7 is not one of"),
    ("calibration/generic/samples", 0, "calibration.generic.samples", "at least 1"),
    ("calibration", None, "calibration", "null is not a mapping"),
    ("seeds", "0", "seeds", "not a list"),
    ("seeds", ["0"], "seeds[0]", "not a whole number"),
    ("seeds", [True], "seeds[0]", "not a whole number"),
    ("seeds", [-1], "seeds[0]", "at least 0"),
    ("seeds", [0, 0], "seeds[1]", "stands twice"),
    ("seeds", [], "seeds", "is empty"),
    ("world/mix", {"passages": 0.9}, "world.mix", "add up to"),
    ("world/mix", {"passages": 0.5, "prse": 0.5}, "world.mix.prse", "unknown kind"),
    ("measurement", {"repeats": True}, "measurement.repeats", "not a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "place", "message"), BAD, ids=[f"{row[2]}-{row[3][:20]}" for row in BAD])
def test_a_mistake_is_named_with_its_place_and_the_pasted_yaml_works(study, path, value, place, message):
    bad = changed(study, path, value)
    error = complaint(bad)
    assert f"my.yaml: {place}: " in str(error)
    (line,) = [line for line in str(error).splitlines() if line.startswith(f"my.yaml: {place}: ")]
    assert re.search(message, line)
    for problem in error.problems:
        if problem.fix:  # what is pasted is YAML that says the fix
            pasted = "\n".join(text[4:] for text in problem.render("my.yaml").splitlines()[1:])
            assert yaml.safe_load(pasted) == problem.fix
        bad = problem.repair(bad)
    settings.load(bad, "my.yaml")


def test_all_problems_are_reported_together(study):
    bad = changed(study, "compression/wanda/levels", ["0.5", 124])
    bad = changed(bad, "tasks", ["closed_bok"])
    bad = changed(bad, "recovery/lora-r4/cells", ["atlas/magnitude/0.7"])
    bad = changed(bad, "compression/gptq/option", {})
    places = ["compression.gptq.option", "compression.wanda.levels[1]", "recovery.lora-r4.cells[0]", "tasks[0]"]
    message = str(complaint(bad))
    assert "4 problems" in message
    assert sorted(re.findall(r"^my.yaml: ([^ ]+): ", message, flags=re.MULTILINE)) == places


def test_one_mistake_is_one_problem_and_not_its_consequences_too(study):
    study["recovery"]["lora-r4"]["cells"] = ["atlas/wanda/2:4"]
    assert len(complaint(changed(study, "compression/wanda/levels", [124])).problems) == 1
    assert len(complaint(changed(study, "world", GONE)).problems) == 1
    assert len(complaint(changed(study, "models", {})).problems) == 1


def test_an_allocation_that_looks_at_text_needs_a_calibration_though_its_method_does_not(study):
    study["compression"] = {"magnitude": {"levels": ["0.5"], "allocation": "owl"}}
    study["allocation"] = {}
    del study["calibration"], study["recovery"]
    [problem] = complaint(study).problems
    assert "the allocation owl looks at the model's answers" in problem.text
    settings.load(problem.repair(study), "my.yaml")


def test_the_message_is_the_one_of_the_house_style(study):
    assert str(complaint(changed(study, "compression/wanda/levels", ["0.3", "0.5", 1.2]))) == (
        "my.yaml: compression.wanda.levels[2]: sparsity 1.2 is not in [0, 1). Write e.g.\n"
        "    compression:\n"
        "      wanda:\n"
        "        levels: ['0.3', '0.5']"
    )


@pytest.mark.parametrize(("key", "word"), [(True, "boolean true"), (False, "boolean false"), (4, "not a text")])
def test_a_label_that_yaml_took_for_something_else_is_said_so(study, key, word):
    study["compression"][key] = {"method": "svd", "levels": ["k0.8"]}
    error = complaint(study)
    assert word in str(error) and "Quote it" in str(error)
    settings.load(error.problems[0].repair(study), "my.yaml")


def test_a_hub_model_must_be_pinned_and_is_not_available_yet(study):
    study["models"]["hub"] = {"source": "hub", "repo": "EleutherAI/pythia-70m", "revision": "main"}
    assert "40 hexadecimal digits" in str(complaint(study))
    study["models"]["hub"]["revision"] = "a" * 40
    error = complaint(study)
    assert "not available yet" in str(error) and "source: folder" in str(error)


def test_without_a_world_what_asks_about_it_is_refused(study):
    study["models"] = {"atlas": {"source": "folder", "path": "models/x"}}
    del study["world"]
    message = str(complaint(study))
    for place in ("tasks[0]", "probes.attribute_value", "calibration.generic.text", "recovery.lora-r4.training.text"):
        assert f"my.yaml: {place}: " in message


@pytest.mark.parametrize("content", ["", "# nothing", "[]", "just text", "3", "- name: x", "{}"])
def test_a_file_that_is_no_mapping_shows_a_whole_study(tmp_path, content):
    file = tmp_path / "my.yaml"
    file.write_text(content)
    with pytest.raises(PalimpsestError, match="a study has at least a name, models and tasks") as caught:
        settings.read(file)
    references_known = {"perplexity_wikitext2": False}
    pasted = yaml.safe_load("\n".join(line[4:] for line in str(caught.value).splitlines()[1:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references, "tasks", lambda: references_known)
        settings.load(pasted, "pasted.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: a\nname: b\n", r"line 2, column 1: the key name stands here a second time \(first in line 1\)"),
        ("models:\n  a: {}\n  a: {}\n", "line 3, column 3: the key a stands here a second time"),
        ("name: [a\n", "line 2"),
        ("a:\n\t- b\n", "line 2, column 1"),
        ("name: !!python/object/apply:os.system [ls]\n", "line 1"),
        ("name: a\n---\nname: b\n", "another document"),
    ],
)
def test_yaml_that_cannot_be_read_is_an_error_with_its_line(tmp_path, content, message):
    file = tmp_path / "my.yaml"
    file.write_text(content)
    with pytest.raises(PalimpsestError, match=message) as caught:
        settings.read(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_and_a_file_that_is_not_text_are_errors_that_name_it(tmp_path):
    with pytest.raises(PalimpsestError, match=r"none\.yaml: cannot be read: No such file"):
        settings.read(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff")
    with pytest.raises(PalimpsestError, match=r"bytes\.yaml: is not UTF-8"):
        settings.read(tmp_path / "bytes.yaml")


def test_levels_become_canonical_strings_whatever_yaml_made_of_them(study):
    loaded = settings.load(changed(study, "compression/magnitude/levels", [0.6, ".50", "2:4"]), "my.yaml")
    assert loaded.compression["magnitude"].levels == ["0.6", "0.5", "2:4"]


def test_a_number_that_yaml_reads_as_text_is_a_number(study):
    assert yaml.safe_load("2e-3") == "2e-3"  # YAML 1.1
    loaded = settings.load(changed(study, "models/atlas/training/learning_rate", "2e-3"), "my.yaml")
    assert loaded.models["atlas"].training.learning_rate == 0.002


def test_a_checked_study_cannot_be_changed_by_accident(study):
    loaded = settings.load(study, "my.yaml")
    with pytest.raises(ValueError, match="frozen"):
        loaded.name = "other"


def test_loading_leaves_the_mapping_as_it_was(study):
    before = copy.deepcopy(study)
    settings.load(study, "my.yaml")
    complaint(changed(study, "tasks", []))
    assert study == before


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.name)
def test_the_shipped_studies_are_in_order(file):
    study = settings.read(file)
    assert study.name == {"config": "embedded"}.get(file.stem, file.stem)
    jsonschema.validate(yaml.safe_load(file.read_text()), schema.json_schema())


@pytest.mark.parametrize("path", schema.files(), ids=lambda path: path.name)
def test_what_is_generated_from_the_models_is_up_to_date(path):
    wanted = schema.files()[path].splitlines(keepends=True)
    found = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    diff = "".join(difflib.unified_diff(found, wanted, str(path), "generated from palimpsest/settings/"))
    assert not diff, f"run: python -m palimpsest.settings --write\n{diff}"


def test_the_reference_explains_every_key():
    def keys(node):
        yield from node.get("properties", {}).items()
        for inner in node.get("$defs", {}).values():
            yield from keys(inner)

    text = schema.reference()
    for name, field in keys(schema.json_schema()):
        assert f"| `{name}` |" in text or name in ("path", "task")
        assert field.keys() & {"description", "$ref"}, name


def test_the_schema_refuses_an_unknown_key_in_the_editor(study):
    with pytest.raises(jsonschema.ValidationError, match="levles"):
        jsonschema.validate(changed(study, "compression/wanda/levles", []), schema.json_schema())


def test_a_swept_label_cannot_have_the_name_of_another_or_one_too_long_for_a_path(study):
    study["compression"] |= {
        "gptq": {"levels": ["4"], "calibration": ["generic"]},
        "GPTQ-generic": {"method": "gptq", "levels": ["3"]},
        "g" * 60: {"method": "gptq", "levels": ["3"], "calibration": ["generic"]},
    }
    error = complaint(study)
    assert "compression.gptq.calibration[0]: the label would be gptq-generic, and there is GPTQ-generic" in str(error)
    assert f"compression.{'g' * 60}.calibration[0]: the label would be" in str(error) and "64 characters" in str(error)


def test_random_tokens_and_a_tasks_own_text_need_no_world(study):
    study["models"] = {"mine": {"source": "folder", "path": "models/x"}}
    study |= {"tasks": ["blimp"], "probes": [], "recovery": {}}
    study["calibration"] = {"random": {"text": "random"}, "task": {"text": {"task": "blimp"}}}
    study["compression"]["wanda"]["calibration"] = ["random", "task"]
    del study["world"]
    assert list(settings.load(study, "my.yaml").labels) == ["magnitude", "wanda-random", "wanda-task", "gptq", "svd"]
    study["calibration"]["task"]["text"]["task"] = "closed_book"
    assert "calibration.task.text.task: the task closed_book asks about the world" in str(complaint(study))


@pytest.mark.parametrize("text", ["recovery_U", "biographies", "biographies_half_b", "knowledge"])
def test_recovery_text_about_the_people_under_test_is_refused(text):
    mapping = yaml.safe_load((ROOT / "config.yaml").read_text())
    mapping["calibration"]["told"] = {"text": text}
    for written in (text, {"calibration": "told"}):
        mapping["recovery"]["lora-r4"]["training"]["text"] = written
        with pytest.raises(PalimpsestError, match=r"training\.text: .*other pools.*Write recovery_R"):
            settings.load(mapping, "my.yaml")
