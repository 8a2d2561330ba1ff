"""An exported cell loads in plain transformers, without this project, and gives the same logits."""

from __future__ import annotations

import json

import pytest
import torch
from test_compression_walk import families
from transformers import AutoModelForCausalLM, AutoTokenizer

import palimpsest
from palimpsest.compression.cell import compress
from palimpsest.export import export
from palimpsest.provenance import PalimpsestError, verify_folder

IDS = torch.arange(4, 20)[None]


@pytest.fixture(scope="module")
def wide(tmp_path_factory, make_tiny_model):
    """Widths that groups of 16 divide, an untied head."""
    return make_tiny_model(tmp_path_factory.mktemp("wide") / "model", tie_word_embeddings=False, num_hidden_layers=3)


def made(folder, model, calibration, method, level, **arguments):
    needs = palimpsest.methods()[method]["needs"]
    compress(model, folder, method=method, level=level, calibration_folder=calibration if needs else None, **arguments)
    return folder


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def plain(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto", **options).eval()


@pytest.mark.parametrize(
    ("method", "level"),
    [
        ("magnitude", "0.5"),
        ("sparsegpt", "2:4"),
        ("gptq", "3g16"),
        ("rtn", "2"),
        ("awq", "3g16"),
        ("hqq", "4"),
        ("nf4", "nf4"),
        ("sparsegpt", "0.5+4"),
        ("svd-llm", "k0.6"),
        ("svd", "k1.0"),
    ],
)
def test_any_cell_is_a_plain_folder_with_the_same_logits(tmp_path, wide, tiny_calibration_folder, method, level):
    cell = made(tmp_path / "cell", wide, tiny_calibration_folder, method, level)
    export(cell, tmp_path / "plain")
    verify_folder(tmp_path / "plain")
    assert torch.equal(logits(plain(tmp_path / "plain")), logits(palimpsest.load(cell)[0]))
    assert AutoTokenizer.from_pretrained(tmp_path / "plain")("Alba lives")["input_ids"][0] == 1
    said = json.loads((tmp_path / "plain" / "export.json").read_text())
    assert (said["method"], said["level"], said["left_out"]) == (method, level, [])


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_neox", "phi", "gemma2"])
def test_every_family_is_exported_by_its_own_names(tmp_path, tiny_tokenizer, family):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(families()[family]).eval()
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    compress(tmp_path / "model", tmp_path / "cell", method="rtn", level="4")
    export(tmp_path / "cell", tmp_path / "plain")
    found = logits(plain(tmp_path / "plain"))
    assert torch.equal(found, logits(palimpsest.load(tmp_path / "cell")[0]))
    assert not torch.equal(found, logits(model))


def test_biases_that_a_method_adds_are_exported(tmp_path, wide, tiny_calibration_folder):
    cell = made(tmp_path / "cell", wide, tiny_calibration_folder, "afm", "k0.6")
    export(cell, tmp_path / "plain")
    torch.testing.assert_close(logits(plain(tmp_path / "plain")), logits(palimpsest.load(cell)[0]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("method", "level", "options"),
    [
        ("rtn", "4g16", {}),
        ("rtn", "3", {}),
        ("gptq", "2g16", {"symmetric": True}),
        ("gptq", "8", {"act_order": True}),
        ("gptq", "5g16", {"act_order": True, "static_groups": True}),
    ],
)
def test_packed_integers_load_in_plain_transformers(
    tmp_path, make_tiny_model, tiny_calibration_folder, method, level, options, dtype
):
    from safetensors.torch import load_file, save_file

    model = make_tiny_model(tmp_path / "model", tie_word_embeddings=False)
    if dtype == "bfloat16":
        (model / "digests.json").unlink()
        tensors = {name: tensor.bfloat16() for name, tensor in load_file(model / "model.safetensors").items()}
        save_file(tensors, model / "model.safetensors", {"format": "pt"})
        config = json.loads((model / "config.json").read_text()) | {"dtype": "bfloat16"}
        (model / "config.json").write_text(json.dumps(config))
    cell = made(tmp_path / "cell", model, tiny_calibration_folder, method, level, options=options)
    export(cell, tmp_path / "packed", "compressed-tensors")
    ours, theirs = palimpsest.load(cell)[0], plain(tmp_path / "packed")
    if dtype == "bfloat16":
        ours = ours.half()  # what the export is: bfloat16 cannot hold its scales
        torch.testing.assert_close(logits(theirs).float(), logits(ours).float(), atol=0.02, rtol=0.02)
    else:
        torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-5, rtol=1e-5)
    name = "model.layers.0.mlp.up_proj.weight_packed"
    packed = load_file(tmp_path / "packed" / "model.safetensors")
    assert packed[name].dtype == torch.int32 and packed[name].nbytes == 48 * 4 * -(-32 * int(level[0]) // 32)


def test_layers_with_different_bits_are_groups_of_their_own(tmp_path, wide, monkeypatch):
    from palimpsest.compression.walk import Recipe
    from palimpsest.levels import Bits

    def level_of(self, name):
        return None if "o_proj" in name else Bits(4 if "layers.0" in name else 3)

    monkeypatch.setattr(Recipe, "level_of", level_of)
    compress(wide, tmp_path / "cell", method="rtn", level="4", options={"symmetric": True})
    export(tmp_path / "cell", tmp_path / "packed", "compressed-tensors")
    config = json.loads((tmp_path / "packed" / "config.json").read_text())["quantization_config"]
    assert {group["weights"]["num_bits"] for group in config["config_groups"].values()} == {3, 4}
    assert "model.layers.1.self_attn.o_proj" in config["ignore"] and "lm_head" in config["ignore"]
    found = logits(plain(tmp_path / "packed"))
    torch.testing.assert_close(found, logits(palimpsest.load(tmp_path / "cell")[0]), atol=1e-5, rtol=1e-5)
    compress(wide, tmp_path / "zeros", method="rtn", level="4")
    with pytest.raises(PalimpsestError, match=r"different grids \(2\) that have zeros.*symmetric: true"):
        export(tmp_path / "zeros", tmp_path / "packed-zeros", "compressed-tensors")


def test_large_models_are_exported_in_shards(tmp_path, wide, monkeypatch):
    monkeypatch.setattr("palimpsest.export.SHARD", 20_000)
    compress(wide, tmp_path / "cell", method="magnitude", level="0.5")
    export(tmp_path / "cell", tmp_path / "plain")
    files = list((tmp_path / "plain").glob("*.safetensors"))
    assert len(files) > 1 and (tmp_path / "plain" / "model.safetensors.index.json").exists()
    assert torch.equal(logits(plain(tmp_path / "plain")), logits(palimpsest.load(tmp_path / "cell")[0]))


@pytest.mark.parametrize(
    ("method", "level", "options", "message"),
    [
        ("magnitude", "0.5", {}, "down_proj is sparse.*Export it as huggingface"),
        ("svd", "k0.6", {}, "is low rank"),
        ("nf4", "nf4", {}, "is codebook"),
        ("hqq", "4g16", {}, "zeros that are no integers"),
        ("awq", "4g16", {}, "divides its inputs by a scale of its own"),
        ("gptq", "4g16", {"act_order": True}, "groups that are not whole runs"),
        ("rtn", "4g20", {}, "groups that are not whole runs"),
        ("svd", "k1.0", {}, "nothing is quantized"),
    ],
)
def test_what_compressed_tensors_cannot_say_is_refused(
    tmp_path, wide, tiny_calibration_folder, method, level, options, message
):
    cell = made(tmp_path / "cell", wide, tiny_calibration_folder, method, level, options=options)
    with pytest.raises(PalimpsestError, match=message):
        export(cell, tmp_path / "packed", "compressed-tensors")
    assert not (tmp_path / "packed").exists()


def test_an_unknown_format_is_named(tmp_path, wide):
    compress(wide, tmp_path / "cell", method="rtn", level="4")
    with pytest.raises(PalimpsestError, match="'gguf' is no export format; there are huggingface"):
        export(tmp_path / "cell", tmp_path / "out", "gguf")
