"""Checkpoints from a local folder: only safetensors, whole, and found where the study says."""

import pytest

from palimpsest.provenance import PalimpsestError, verify_folder
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
