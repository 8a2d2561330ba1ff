"""Outlier channels: the same function, another shape of weights and activations, and where it came from."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from palimpsest.provenance import DamagedArtifact, PalimpsestError, read_json, verify_folder
from palimpsest.sources.outliers import add_outliers

READ = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


@pytest.fixture(scope="module")
def derived(tiny_model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outliers") / "tiny-outlier"
    add_outliers(tiny_model_folder, folder, of="tiny", channels=3, scale=30.0)
    return folder


def run(folder, ids):
    """Logits, and the largest activation of each channel that any attention or MLP reads."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    peaks = []
    for block in model.model.layers:
        for norm in (block.input_layernorm, block.post_attention_layernorm):
            norm.register_forward_hook(lambda _, __, output: peaks.append(output.abs().amax((0, 1))))
    with torch.no_grad():
        logits = model(ids).logits
    return logits, torch.stack(peaks)


def test_logits_are_equal_and_a_few_channels_are_thirty_times_as_large(tiny_model_folder, derived):
    ids = torch.randint(4, 50, (3, 20), generator=torch.Generator().manual_seed(0))
    (logits, peaks), (same, larger) = run(tiny_model_folder, ids), run(derived, ids)
    torch.testing.assert_close(same, logits, rtol=1e-4, atol=1e-5 * float(logits.abs().max()))
    chosen = read_json(derived / "source.json")["channels"]
    ratio = larger / peaks
    assert len(chosen) == 3
    torch.testing.assert_close(ratio[:, chosen], torch.full((4, 3), 30.0), rtol=1e-3, atol=0)
    ratio[:, chosen] = 1
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-3, atol=0)


def test_columns_of_the_next_matrices_shrink_and_nothing_else_changes(tiny_model_folder, derived):
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model_folder, derived))
    chosen = read_json(derived / "source.json")["channels"]
    assert before.keys() == after.keys()
    for name, weight in before.items():
        expected = weight.clone()
        if "layernorm" in name:
            expected[chosen] *= 30
        elif any(matrix in name for matrix in READ):
            expected[:, chosen] /= 30
        torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=0, msg=name)


def test_source_says_what_it_was_derived_from(tiny_model_folder, derived):
    said = read_json(derived / "source.json")
    assert said["source"] == "outliers" and said["of"] == "tiny" and said["scale"] == 30
    assert said["of_digest"] == verify_folder(tiny_model_folder)
    verify_folder(derived)


def test_the_seed_draws_the_channels_and_the_same_settings_give_the_same_bytes(tiny_model_folder, derived, tmp_path):
    add_outliers(tiny_model_folder, tmp_path / "again", of="tiny", channels=3, scale=30.0)
    add_outliers(tiny_model_folder, tmp_path / "other", of="tiny", channels=3, scale=30.0, seed=1)
    assert verify_folder(tmp_path / "again") == verify_folder(derived)
    assert read_json(tmp_path / "other" / "source.json")["channels"] != read_json(derived / "source.json")["channels"]


def test_bfloat16_weights_stay_bfloat16(make_tiny_model, tmp_path):
    folder = make_tiny_model(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "digests.json").unlink()
    add_outliers(folder, tmp_path / "derived", of="model", scale=32.0)
    after = load_file(tmp_path / "derived" / "model.safetensors")
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    ids = torch.arange(4, 14)[None]
    torch.testing.assert_close(run(tmp_path / "derived", ids)[0], run(folder, ids)[0], rtol=0.02, atol=0.02)


def test_shards_are_rewritten_one_by_one(tiny_model_folder, derived, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    add_outliers(tmp_path / "sharded", tmp_path / "derived", of="tiny", channels=3)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "derived").state_dict()
    for name, weight in AutoModelForCausalLM.from_pretrained(derived).state_dict().items():
        assert torch.equal(weight, loaded[name]), name


def test_what_cannot_be_derived_is_named_and_leaves_nothing(tiny_model_folder, make_tiny_model, tmp_path):
    def fails(message, folder=tiny_model_folder, error=PalimpsestError, **arguments):
        with pytest.raises(error, match=message):
            add_outliers(folder, tmp_path / "derived", of="tiny", **arguments)
        assert not (tmp_path / "derived").exists()

    fails("33 outlier channels, and the model has 32", channels=33)
    other = shutil.copytree(tiny_model_folder, tmp_path / "bert", ignore=shutil.ignore_patterns("digests.json"))
    config = (other / "config.json").read_text().replace('"model_type": "llama"', '"model_type": "bert"')
    (other / "config.json").write_text(config)
    fails("model_type is 'bert'.* Known: llama", folder=other)
    damaged = make_tiny_model(tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    fails("changed or damaged", folder=damaged, error=DamagedArtifact)
    partial = shutil.copytree(tiny_model_folder, tmp_path / "partial", ignore=shutil.ignore_patterns("digests.json"))
    tensors = load_file(partial / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if "1.mlp.up" not in name}, partial / "model.safetensors")
    fails(r"block 1 has no mlp\.up_proj\.weight", folder=partial)
