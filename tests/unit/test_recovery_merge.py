"""An adapter that is put into the weights leaves them what compression made of them, and says what that costs."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PromptTuningConfig, TaskType, get_peft_model
from small_models import make_model_folder, make_tokenizer

import palimpsest
from palimpsest.compression import artifact
from palimpsest.compression.cell import compress
from palimpsest.compression.layer import compress_weight
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Whole
from palimpsest.measurement.sizes import sizes
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, write_json
from palimpsest.recovery.adapters import adapter_state, write_adapter
from palimpsest.recovery.closed_form import recover
from palimpsest.recovery.merge import merge
from palimpsest.recovery.refit import refit

ADAPTED = "model.layers.1.self_attn.q_proj"
KEPT = "model.layers.1.mlp.down_proj"
CELLS = {"magnitude": "0.5", "wanda": "2:4", "rtn": "3", "svd": "k0.6", "sparsegpt": "0.5+4"}


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_model_folder, tiny_calibration_folder):
    """A folder with cells and, beside each, a LoRA adapter with random factors on q_proj and v_proj."""
    folder = tmp_path_factory.mktemp("study")
    for method, level in CELLS.items():
        calibration = tiny_calibration_folder if palimpsest.methods()[method]["needs"] else None
        compress(tiny_model_folder, folder / method, method=method, level=level, calibration_folder=calibration)
        put_adapter(folder / method, folder / f"{method}-lora", "lora", lora())
    return folder


def lora(**changes):
    return LoraConfig(
        **{"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "task_type": TaskType.CAUSAL_LM}
        | {"init_lora_weights": False}
        | changes
    )


def put_adapter(cell, folder, method, configuration):
    """What training leaves of an adapter with random numbers."""
    torch.manual_seed(0)
    model = get_peft_model(palimpsest.load(cell)[0], configuration)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.normal_(std=0.1)
            elif "magnitude" in name:
                parameter.mul_(1.1)
    with atomic_folder(folder) as temporary:
        write_adapter(temporary, adapter_state(model), configuration)
        made_on = {"path": f"../{cell.name}", "digest": folder_digest(cell)}
        write_json(temporary / "recovery.json", {"method": method, "cell": made_on})


def merged(study, name, output, adapter="lora", **options):
    recovery = merge(study / name, output / "adapter", options=options, of={"lora-r3": study / f"{name}-{adapter}"})
    cell = output / "adapter" / "cell"
    return recovery, artifact.read_layers(cell, artifact.read_record(cell))


def layers_of(folder):
    return artifact.read_layers(folder, artifact.read_record(folder))


def sum_of(study, name, layer=ADAPTED):
    """W_c + (α / r) B A in float64, from the files."""
    from safetensors.torch import load_file

    state = load_file(study / f"{name}-lora" / "adapter_model.safetensors")
    a, b = (state[f"base_model.model.{layer}.lora_{part}.weight"].double() for part in "AB")
    return layers_of(study / name)[layer].dense().double() + 2 * b @ a


def logits(folder):
    with torch.inference_mode():
        return palimpsest.load(folder)[0](input_ids=torch.tensor([[1, 5, 9, 12, 30, 31, 40]])).logits


@pytest.mark.parametrize("name", CELLS)
def test_without_anything_kept_the_merged_model_is_the_adapted_one(study, tmp_path, name):
    recovery, layers = merged(study, name, tmp_path, keep="none")
    torch.testing.assert_close(layers[ADAPTED].dense().double(), sum_of(study, name), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(logits(tmp_path), logits(study / f"{name}-lora"), atol=1e-3, rtol=1e-3)
    assert isinstance(layers[ADAPTED], Whole)
    assert {said["merging_error"] for said in recovery["layers"].values()} == {0.0}


def test_the_bytes_say_that_compression_was_given_up(study, tmp_path):
    merged(study, "rtn", tmp_path / "none", keep="none")
    merged(study, "rtn", tmp_path / "auto")
    alone, beside, dense, again = (
        {metric: value for metric, value, _ in sizes(study / "rtn", adapter)}
        for adapter in (None, study / "rtn-lora", tmp_path / "none" / "adapter", tmp_path / "auto" / "adapter")
    )
    assert again == alone
    assert beside["bytes_total"] == alone["bytes_total"] + beside["bytes_adapter"]
    assert beside["bits_per_weight_total"] > beside["bits_per_weight"] == alone["bits_per_weight"]
    old = layers_of(study / "rtn")
    matrices = [f"model.layers.{block}.self_attn.{part}_proj" for block in (0, 1) for part in "qv"]
    given_up = sum(4 * old[name].shape[0] * old[name].shape[1] - old[name].nbytes for name in matrices)
    assert dense["bytes_total"] == alone["bytes_total"] + given_up
    assert dense["parameters_extra"] == dense["bytes_adapter"] == 0


@pytest.mark.parametrize("name", ["magnitude", "wanda"])
def test_merged_adapter_keeps_zeros(study, tmp_path, name):
    recovery, layers = merged(study, name, tmp_path)
    old, wanted = layers_of(study / name)[ADAPTED], sum_of(study, name)
    assert torch.equal(layers[ADAPTED].kept, old.kept)
    expected = wanted * old.kept
    torch.testing.assert_close(layers[ADAPTED].dense().double(), expected, atol=1e-6, rtol=1e-5)
    lost = ((wanted - expected).norm() / wanted.norm()).square().item()
    assert recovery["layers"][ADAPTED]["merging_error"] == pytest.approx(lost, rel=1e-4)
    weight = palimpsest.load(tmp_path)[0].get_submodule(ADAPTED).weight
    assert torch.equal(weight == 0, old.dense() == 0)
    if name == "wanda":
        assert bool(((weight != 0).view(-1, 4).sum(1) == 2).all())


def test_merged_adapter_keeps_the_grid(study, tmp_path):
    recovery, layers = merged(study, "rtn", tmp_path)
    old, wanted = layers_of(study / "rtn")[ADAPTED], sum_of(study, "rtn")
    expected = compress_weight(wanted.float(), None, "rtn", "3").dense()
    torch.testing.assert_close(layers[ADAPTED].dense(), expected, atol=1e-5, rtol=1e-4)
    assert layers[ADAPTED].nbytes == old.nbytes
    lost = ((wanted - expected.double()).norm() / wanted.norm()).square().item()
    assert recovery["layers"][ADAPTED]["merging_error"] == pytest.approx(lost, rel=1e-3)


def test_merged_adapter_keeps_the_rank(study, tmp_path):
    recovery, layers = merged(study, "svd", tmp_path)
    old, wanted = layers_of(study / "svd")[ADAPTED], sum_of(study, "svd")
    u, s, v = torch.linalg.svd(wanted)
    expected = u[:, : old.rank] * s[: old.rank] @ v[: old.rank]
    assert layers[ADAPTED].rank == old.rank
    torch.testing.assert_close(layers[ADAPTED].dense().double(), expected, atol=1e-4, rtol=1e-3)
    lost = (s[old.rank :].norm() / s.norm()).square().item()
    assert recovery["layers"][ADAPTED]["merging_error"] == pytest.approx(lost, rel=1e-3)


def test_with_a_calibration_the_rank_is_kept_where_inputs_are(study, tmp_path, tiny_calibration_folder):
    from palimpsest.calibration import read_rows

    merged(study, "svd", tmp_path / "plain")
    whitened = merge(
        study / "svd", tmp_path / "whitened" / "adapter", options={}, of={"x": study / "svd-lora"},
        calibration_folder=tiny_calibration_folder,
    )  # fmt: skip
    rows, lengths, _ = read_rows(tiny_calibration_folder)
    dense, _ = palimpsest.load(artifact.base_folder(study / "svd", artifact.read_record(study / "svd")))
    seen = []
    dense.get_submodule(ADAPTED).register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.inference_mode():
        dense(input_ids=rows)
    x = seen[0][torch.arange(rows.shape[1]) < lengths[:, None]].double()
    wanted, errors = sum_of(study, "svd") @ x.T, {}
    for name in ("plain", "whitened"):
        found = layers_of(tmp_path / name / "adapter" / "cell")[ADAPTED].dense().double() @ x.T
        errors[name] = ((found - wanted).norm() / wanted.norm()).square().item()
    rank = layers_of(study / "svd")[ADAPTED].rank
    best = (torch.linalg.svdvals(wanted)[rank:].norm() / wanted.norm()).square().item()
    assert errors["whitened"] == pytest.approx(best, rel=1e-3) and errors["whitened"] < errors["plain"]
    assert whitened["layers"][ADAPTED]["merging_error"] == pytest.approx(best, rel=1e-3)
    assert whitened["consults_dense"] is True  # whose inputs they are


@pytest.mark.parametrize("name", CELLS)
def test_matrices_without_an_adapter_are_left_as_they_are(study, tmp_path, name):
    recovery, layers = merged(study, name, tmp_path)
    assert KEPT not in recovery["layers"]
    old = layers_of(study / name)
    assert layers.keys() == old.keys()
    assert torch.equal(layers[KEPT].dense(), old[KEPT].dense())
    assert not torch.equal(layers[ADAPTED].dense(), old[ADAPTED].dense())


@pytest.mark.parametrize(("keep", "kind"), [("auto", "sparse quantized"), ("mask", "sparse"), ("grid", "quantized")])
def test_of_a_pruned_and_quantized_cell_both_or_one_is_kept(study, tmp_path, keep, kind):
    _, layers = merged(study, "sparsegpt", tmp_path, keep=keep)
    old = layers_of(study / "sparsegpt")[ADAPTED]
    assert layers[ADAPTED].kind == kind
    if keep != "grid":
        assert torch.equal(layers[ADAPTED].kept, old.kept)
    if keep != "mask":
        assert layers[ADAPTED].achieved()["bits"] == 4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), level=st.sampled_from(["0.3", "0.5", "0.9", "2:4", "1:8"]))
def test_whatever_is_added_the_mask_survives(seed, level):
    generator = torch.Generator().manual_seed(seed)
    weight, added = torch.randn(2, 12, 16, generator=generator)
    like = compress_weight(weight, None, "magnitude", level)
    found = refit(like.dense() + added, like, Statistics(16, needs=()))
    assert torch.equal(found.dense() == 0, ~like.kept)
    assert torch.equal(found.dense()[like.kept], (like.dense() + added)[like.kept])
    assert found.nbytes == like.nbytes and found.achieved() == like.achieved()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    level=st.sampled_from(["2", "3", "4g8", "8", "2g5"]),
    size=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
)
def test_whatever_is_added_codes_stay_in_range_and_values_within_a_step(seed, level, size):
    generator = torch.Generator().manual_seed(seed)
    weight, added = torch.randn(2, 12, 16, generator=generator)
    like = compress_weight(weight, None, "rtn", level)
    wanted = like.dense() + size * added
    found = refit(wanted, like, Statistics(16, needs=()))
    assert int(found.codes.max()) < 2**like.bits and int(found.zeros.max()) < 2**like.bits
    assert found.codes.dtype == torch.uint8 and found.nbytes == like.nbytes
    step = found.scales.float()[:, found.groups]
    assert bool(((found.dense() - wanted).abs() <= step * (1 + 1e-3) + 1e-6).all())


def test_dora_merges_as_peft_computes_it(study, tmp_path):
    put_adapter(study / "magnitude", study / "magnitude-dora", "dora", lora(use_dora=True))
    merged(study, "magnitude", tmp_path / "none", adapter="dora", keep="none")
    torch.testing.assert_close(logits(tmp_path / "none"), logits(study / "magnitude-dora"), atol=1e-3, rtol=1e-3)
    _, layers = merged(study, "magnitude", tmp_path / "auto", adapter="dora")
    assert torch.equal(layers[ADAPTED].kept, layers_of(study / "magnitude")[ADAPTED].kept)


def test_an_adapter_on_matrices_that_the_cell_left_dense_makes_them_whole(tmp_path, tiny_model_folder):
    compress(tiny_model_folder, tmp_path / "dense", method="dense", level="full")
    put_adapter(tmp_path / "dense", tmp_path / "dense-lora", "lora", lora())
    _, layers = merged(tmp_path, "dense", tmp_path / "variant")
    assert len(layers) == 4 and all(isinstance(layer, Whole) for layer in layers.values())
    torch.testing.assert_close(logits(tmp_path / "variant"), logits(tmp_path / "dense-lora"), atol=1e-3, rtol=1e-3)


def test_loftqs_adapter_is_merged_into_loftqs_own_integers(study, tmp_path):
    recover(study / "rtn", study / "rtn-loftq", method="loftq", options={"rank": 4, "iterations": 2})
    recovery, _ = merged(study, "rtn", tmp_path / "none", adapter="loftq", keep="none")
    torch.testing.assert_close(logits(tmp_path / "none"), logits(study / "rtn-loftq"), atol=1e-3, rtol=1e-3)
    assert recovery["consults_dense"] is True
    assert recovery["cell"]["digest"] == folder_digest(study / "rtn")
    assert merged(study, "rtn", tmp_path / "lora")[0]["consults_dense"] is False


def test_an_adapter_on_a_transposed_layer_merges(tmp_path):
    """GPT-2 stores its matrices (in, out)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    with atomic_folder(tmp_path / "gpt2") as folder:
        GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=1, eos_token_id=2)).save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
    compress(tmp_path / "gpt2", tmp_path / "magnitude", method="magnitude", level="0.5")
    put_adapter(
        tmp_path / "magnitude", tmp_path / "magnitude-lora", "lora",
        lora(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True),
    )  # fmt: skip
    merged(tmp_path, "magnitude", tmp_path / "none", keep="none")
    torch.testing.assert_close(logits(tmp_path / "none"), logits(tmp_path / "magnitude-lora"), atol=1e-4, rtol=1e-4)
    _, layers = merged(tmp_path, "magnitude", tmp_path / "auto")
    name = "transformer.h.0.attn.c_attn"
    assert torch.equal(layers[name].kept, layers_of(tmp_path / "magnitude")[name].kept)


def test_two_runs_write_the_same_bytes(study, tmp_path):
    for name in ("a", "b"):
        merged(study, "rtn", tmp_path / name)
    assert folder_digest(tmp_path / "a" / "adapter") == folder_digest(tmp_path / "b" / "adapter")
    record = json.loads((tmp_path / "a" / "adapter" / "recovery.json").read_text())
    assert [part["name"] for part in record["of"]] == ["lora-r3"]
    assert not record["cell"]["path"].startswith("/")


def refused(study, name, match, tmp_path, of=None, **options):
    with pytest.raises(PalimpsestError, match=match):
        merge(study / name, tmp_path / "adapter", options=options, of=of or {"x": study / f"{name}-lora"})
    assert not (tmp_path / "adapter").exists()


def test_what_cannot_be_merged_is_refused_with_what_would_be_right(study, tmp_path, tiny_model_folder):
    prompt = PromptTuningConfig(num_virtual_tokens=3, task_type=TaskType.CAUSAL_LM)
    put_adapter(study / "rtn", tmp_path / "rtn-prompt", "prompt", prompt)
    refused(study, "rtn", "x is a prompt: .* nothing to put into them", tmp_path, {"x": tmp_path / "rtn-prompt"})
    two = {"x": study / "rtn-lora", "y": study / "rtn-lora"}
    refused(study, "rtn", r"of: x, y: 2 recoveries; it takes one", tmp_path, two)
    refused(study, "rtn", "x was made on another cell", tmp_path, {"x": study / "svd-lora"})
    refused(
        study,
        "rtn",
        "keep: mask is for pruned matrices; .*q_proj is quantized. Write keep: grid",
        tmp_path,
        keep="mask",
    )
    refused(study, "svd", "keep: grid is for quantized .* low rank. Write keep: rank", tmp_path, keep="grid")
    refused(study, "rtn", "keep is 'all'; it is auto, mask, grid, rank or none", tmp_path, keep="all")


def test_an_adapter_on_the_head_is_no_matrix_of_a_block(tmp_path):
    make_model_folder(tmp_path / "untied", tie_word_embeddings=False)
    compress(tmp_path / "untied", tmp_path / "rtn", method="rtn", level="4")
    put_adapter(tmp_path / "rtn", tmp_path / "rtn-lora", "lora", lora(target_modules=["lm_head", "q_proj"]))
    refused(tmp_path, "rtn", "x changes lm_head, which is no matrix of a block", tmp_path)
