"""`load` gives the model that was made, or says what is wrong."""

from __future__ import annotations

import shutil

import pytest
import torch

import palimpsest
from palimpsest.compression.cell import compress
from palimpsest.loading import TwoFactors
from palimpsest.provenance import PalimpsestError


@pytest.fixture
def study(tmp_path, tiny_model_folder):
    """A folder with a model and a cell, as a study leaves them; free to be broken."""
    shutil.copytree(tiny_model_folder, tmp_path / "models" / "tiny")
    compress(tmp_path / "models" / "tiny", tmp_path / "cells" / "svd", method="svd", level="k0.6")
    return tmp_path


def logits(model):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[1, 5, 9, 12]])).logits


def test_dense_folder_loads_with_its_tokenizer(tiny_model_folder):
    model, tokenizer = palimpsest.load(tiny_model_folder)
    assert not model.training and tokenizer("Alba likes Torun .")["input_ids"][0] == tokenizer.bos_token_id == 1
    assert logits(model).shape == (1, 4, model.config.vocab_size)


def test_kept_factors_compute_the_same(study):
    whole, _ = palimpsest.load(study / "cells" / "svd")
    factors, _ = palimpsest.load(study / "cells" / "svd", keep_factors=True)
    assert isinstance(factors.model.layers[0].self_attn.q_proj, TwoFactors)
    assert sum(p.numel() for p in factors.parameters()) < sum(p.numel() for p in whole.parameters())
    torch.testing.assert_close(logits(factors), logits(whole), atol=1e-4, rtol=1e-4)


def test_a_study_that_was_moved_still_loads(study, tmp_path_factory):
    before = logits(palimpsest.load(study / "cells" / "svd")[0])
    moved = shutil.move(study, tmp_path_factory.mktemp("elsewhere") / "study")
    assert torch.equal(logits(palimpsest.load(f"{moved}/cells/svd")[0]), before)


def test_missing_folders_are_named(study):
    with pytest.raises(PalimpsestError, match=r"nowhere: there is no such folder"):
        palimpsest.load(study / "nowhere")
    with pytest.raises(PalimpsestError, match=r"cells: not a model folder: no config.json"):
        palimpsest.load(study / "cells")
    shutil.rmtree(study / "models" / "tiny")
    with pytest.raises(PalimpsestError, match=r"models/tiny, and there is no such folder"):
        palimpsest.load(study / "cells" / "svd")


@pytest.mark.parametrize(
    "file", ["models/tiny/model.safetensors", "models/tiny/config.json", "cells/svd/weights.safetensors"]
)
def test_one_flipped_bit_is_found(study, file):
    data = bytearray((study / file).read_bytes())
    data[-9] ^= 1
    (study / file).write_bytes(data)
    with pytest.raises(PalimpsestError, match=r"changed or damaged"):
        palimpsest.load(study / "cells" / "svd")


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("kept", [0, 5, 4000, -1])
def test_a_truncated_checkpoint_is_found_with_and_without_digests(study, kept, digests):
    folder = study / "models" / "tiny"
    if not digests:
        (folder / "digests.json").unlink()
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:kept])
    with pytest.raises(PalimpsestError, match=r"model.safetensors: .*damaged"):
        palimpsest.load(folder)


def test_an_artifact_of_another_checkpoint_is_refused_with_both_digests(study, make_tiny_model):
    shutil.rmtree(study / "models" / "tiny")
    make_tiny_model(study / "models" / "tiny", seed=5)
    with pytest.raises(PalimpsestError, match=r"another checkpoint: it was made from \w{12}…, and .* is \w{12}…"):
        palimpsest.load(study / "cells" / "svd")


def test_tensors_that_are_missing_are_not_filled_with_random_numbers(study):
    from safetensors.torch import load_file, save_file

    folder = study / "models" / "tiny"
    (folder / "digests.json").unlink()
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(PalimpsestError, match=r"lacks 1 tensors .* model.norm.weight"):
        palimpsest.load(folder)


def test_pickles_are_not_read(study):
    folder = study / "models" / "tiny"
    (folder / "digests.json").unlink()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PalimpsestError, match=r"pytorch_model.bin is a pickle"):
        palimpsest.load(folder)


def test_a_recovered_folder_is_its_cell_with_the_adapter(study):
    from peft import LoraConfig, get_peft_model

    from palimpsest.provenance import atomic_folder, folder_digest, write_json
    from palimpsest.recovery.adapters import adapter_state, write_adapter

    cell, folder = study / "cells" / "svd", study / "variants" / "svd" / "adapter"
    model, _ = palimpsest.load(cell)
    plain = logits(model)
    torch.manual_seed(0)
    configuration = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, configuration).eval()
    expected = logits(adapted)
    with atomic_folder(folder) as temporary:
        write_adapter(temporary, adapter_state(adapted), configuration)
        made_on = {"path": "../../../cells/svd", "digest": folder_digest(cell)}
        write_json(temporary / "recovery.json", {"method": "lora", "cell": made_on})
    found, _ = palimpsest.load(folder)
    assert not torch.allclose(expected, plain, atol=1e-3)
    torch.testing.assert_close(logits(found), expected)
    compress(study / "models" / "tiny", cell, method="svd", level="k0.5")
    with pytest.raises(PalimpsestError, match="an adapter made from another cell"):
        palimpsest.load(folder)
