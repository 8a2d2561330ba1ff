"""The walk sees what the model computes, and the artifact is what it says."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import palimpsest
from palimpsest.calibration import read_rows
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.compression.blocks import BlockRunner
from palimpsest.compression.cell import compress
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.families import FAMILIES
from palimpsest.compression.statistics import Statistics
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, verify_folder, write_json

CELLS = [
    ("magnitude", "0.5"),
    ("wanda", "2:4"),
    ("sparsegpt", "0.5"),
    ("rtn", "3"),
    ("gptq", "3"),
    ("svd", "k0.8"),
    ("svd-llm", "k0.8"),
    ("svd", "k1.0"),
]


@pytest.fixture(scope="module")
def rows(tiny_calibration_folder):
    return read_rows(tiny_calibration_folder)[:2]


def inputs_of(folder, rows, lengths, layer):
    """The inputs (tokens, in) of a layer, padding left out, by running the whole model with a hook."""
    model, _ = palimpsest.load(folder)
    found = []
    model.get_submodule(layer).register_forward_pre_hook(lambda _, arguments: found.append(arguments[0]))
    with torch.inference_mode():
        model(input_ids=rows)
    return found[0][torch.arange(rows.shape[1]) < lengths[:, None]]


def test_the_walk_sees_the_inputs_that_the_model_sees(tiny_model_folder, rows):
    runner = BlockRunner(Checkpoint(tiny_model_folder), *rows)
    for number in (0, 1):
        statistics = {"self_attn.q_proj": Statistics(32), "mlp.down_proj": Statistics(48)}
        runner.run(number, runner.load(number), statistics)
        for layer, found in statistics.items():
            x = inputs_of(tiny_model_folder, *rows, f"model.layers.{number}.{layer}")
            assert found.tokens == len(x) == int(rows[1].sum())
            torch.testing.assert_close(found.gram, x.T @ x / len(x), atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing(tiny_model_folder, rows):
    tokens, lengths = rows
    tokens = tokens.clone()
    tokens[torch.arange(tokens.shape[1]) >= lengths[:, None]] = 7

    def gram(tokens):
        runner, found = BlockRunner(Checkpoint(tiny_model_folder), tokens, lengths), Statistics(48)
        runner.run(0, runner.load(0))
        runner.run(1, runner.load(1), {"mlp.down_proj": found})
        return found.gram

    torch.testing.assert_close(gram(tokens), gram(rows[0]))


def test_layers_that_share_an_input_do_share_it(tiny_model_folder, rows):
    for group in FAMILIES["llama"].groups:
        x = [inputs_of(tiny_model_folder, *rows, f"model.layers.1.{layer}") for layer in group]
        assert all(torch.equal(x[0], other) for other in x)


@pytest.mark.parametrize("propagate", [True, False])
def test_propagate_decides_whose_outputs_a_block_sees(
    tmp_path, tiny_model_folder, tiny_calibration_folder, rows, propagate
):
    cell, layer = tmp_path / "cell", "model.layers.1.mlp.down_proj"
    compress(
        tiny_model_folder,
        cell,
        method="sparsegpt",
        level="0.5",
        calibration_folder=tiny_calibration_folder,
        propagate=propagate,
    )
    record = read_record(cell)
    compressed = read_layers(cell, record)[layer].dense()
    dense = Checkpoint(tiny_model_folder).matrix(layer)

    def error(x):
        return ((x @ (compressed - dense).T).norm() ** 2 / (x @ dense.T).norm() ** 2).item()

    # The model to ask for this layer's inputs: block 0 compressed or not, block 1 dense.
    model, _ = palimpsest.load(cell if propagate else tiny_model_folder)
    for name in FAMILIES["llama"].layers:
        weight = Checkpoint(tiny_model_folder).matrix(f"model.layers.1.{name}")
        model.get_submodule(f"model.layers.1.{name}").weight.data = weight
    found = []
    model.get_submodule(layer).register_forward_pre_hook(lambda _, arguments: found.append(arguments[0]))
    with torch.inference_mode():
        model(input_ids=rows[0])
    x = found[0][torch.arange(rows[0].shape[1]) < rows[1][:, None]]
    assert record["propagate"] is propagate
    assert record["layers"][layer]["error"] == pytest.approx(error(x), rel=1e-3)


@pytest.mark.parametrize(("method", "level"), CELLS)
def test_the_loaded_model_has_the_compressed_weights_and_no_other_change(
    tmp_path, tiny_model_folder, tiny_calibration_folder, method, level
):
    calibration = tiny_calibration_folder if palimpsest.methods()[method]["needs"] else None
    compress(tiny_model_folder, tmp_path / "cell", method=method, level=level, calibration_folder=calibration)
    dense, _ = palimpsest.load(tiny_model_folder)
    model, _ = palimpsest.load(tmp_path / "cell")
    layers = read_layers(tmp_path / "cell", read_record(tmp_path / "cell"))
    assert len(layers) == (0 if level == "k1.0" else 14)
    for (name, before), after in zip(dense.named_parameters(), model.parameters(), strict=True):
        layer = name.removesuffix(".weight")
        assert torch.equal(after, layers[layer].dense() if layer in layers else before)
        assert torch.equal(after, before) == (layer not in layers)


@pytest.mark.parametrize(("method", "level"), CELLS)
def test_a_cell_made_twice_has_the_same_bytes(tmp_path, tiny_model_folder, tiny_calibration_folder, method, level):
    calibration = tiny_calibration_folder if palimpsest.methods()[method]["needs"] else None
    for cell in ("first", "second"):
        compress(tiny_model_folder, tmp_path / cell, method=method, level=level, calibration_folder=calibration)
    assert verify_folder(tmp_path / "first") == verify_folder(tmp_path / "second")


@pytest.mark.parametrize(("method", "level"), [("wanda", "0.0"), ("sparsegpt", "0.0"), ("svd-llm", "k1.0")])
def test_level_zero_changes_nothing_in_the_model(tmp_path, tiny_model_folder, tiny_calibration_folder, method, level):
    compress(
        tiny_model_folder, tmp_path / "cell", method=method, level=level, calibration_folder=tiny_calibration_folder
    )
    dense, compressed = palimpsest.load(tiny_model_folder)[0], palimpsest.load(tmp_path / "cell")[0]
    assert all(torch.equal(a, b) for a, b in zip(dense.parameters(), compressed.parameters(), strict=True))


def test_the_record_says_what_was_done(tmp_path, tiny_model_folder, tiny_calibration_folder):
    cell = tmp_path / "a" / "cell"
    compress(
        tiny_model_folder,
        cell,
        method="gptq",
        level="4g16",
        label="gptq-act",
        options={"act_order": True},
        calibration_folder=tiny_calibration_folder,
    )
    record = read_record(cell)
    assert record["method"] == "gptq" and record["label"] == "gptq-act" and record["level"] == "4g16"
    assert record["options"]["act_order"] is True and record["options"]["damping"] == 0.01
    assert record["achieved"] == {"bits": 4.0} and record["propagate"] is True and record["seed"] == 0
    assert record["base"]["digest"] == folder_digest(tiny_model_folder)
    assert (cell / record["base"]["path"]).resolve() == tiny_model_folder.resolve()
    assert record["calibration"]["digest"] == folder_digest(tiny_calibration_folder)
    stored = load_file(cell / "weights.safetensors")
    assert record["sizes"]["payload_bytes"] == sum(tensor.nbytes for tensor in stored.values())
    total = sum(tensor.nbytes for tensor in load_file(tiny_model_folder / "model.safetensors").values())
    assert record["sizes"]["dense_bytes_referred"] == total - 4 * record["sizes"]["compressed_parameters"]
    for entry in record["layers"].values():
        assert 0 < entry["error"] < 0.05 and entry["error_on"] == "inputs"
        assert entry["damping"] > 0 and entry["factorization"] == "float32"


def test_the_dense_control_is_a_cell_without_layers(tmp_path, tiny_model_folder):
    compress(tiny_model_folder, tmp_path / "cell", method="dense", level="full")
    record = read_record(tmp_path / "cell")
    assert record["layers"] == {} and record["sizes"]["payload_bytes"] == 0
    model, dense = palimpsest.load(tmp_path / "cell")[0], palimpsest.load(tiny_model_folder)[0]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), dense.parameters(), strict=True))


def test_methods_without_statistics_measure_their_error_on_the_weights(tmp_path, tiny_model_folder):
    compress(tiny_model_folder, tmp_path / "cell", method="rtn", level="4")
    record = read_record(tmp_path / "cell")
    assert record["calibration"] is None and record["propagate"] is None
    assert {entry["error_on"] for entry in record["layers"].values()} == {"weights"}


def test_a_bfloat16_checkpoint_in_two_shards_keeps_its_data_type(tmp_path, tiny_model_folder, tiny_calibration_folder):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    (folder / "digests.json").unlink()
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {name: f"model-0000{1 + (i % 2)}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in set(shards.values()):
        save_file({name: tensors[name] for name in names if shards[name] == shard}, folder / shard, {"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": shards})
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "bfloat16"}
    write_json(folder / "config.json", config)
    compress(folder, tmp_path / "cell", method="sparsegpt", level="0.5", calibration_folder=tiny_calibration_folder)
    model, _ = palimpsest.load(tmp_path / "cell")
    assert model.model.layers[1].mlp.up_proj.weight.dtype == torch.bfloat16
    assert (model.model.layers[1].mlp.up_proj.weight == 0).float().mean() == 0.5
    values = load_file(tmp_path / "cell" / "weights.safetensors")["model.layers.0.mlp.up_proj.values"]
    assert values.dtype == torch.bfloat16


def families():
    """Small configurations, one for each family of the table."""
    import transformers as t

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 60}
    llama = small | {"intermediate_size": 24, "num_key_value_heads": 1, "max_position_embeddings": 32}
    return {
        "llama": t.LlamaConfig(**llama, tie_word_embeddings=False, attention_bias=True),
        "mistral": t.MistralConfig(**llama, sliding_window=5),
        "qwen2": t.Qwen2Config(**llama),
        "qwen3": t.Qwen3Config(**llama, head_dim=8),
        "opt": t.OPTConfig(**small, ffn_dim=24, word_embed_proj_dim=16, max_position_embeddings=32),
        "gpt2": t.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=60),
        "gpt_neox": t.GPTNeoXConfig(**small, intermediate_size=24, max_position_embeddings=32),
        "gemma": t.GemmaConfig(**llama, head_dim=8),
        "gemma2": t.Gemma2Config(**llama, head_dim=8, sliding_window=5),
        "gemma3_text": t.Gemma3TextConfig(**llama, head_dim=8, sliding_window=5),
        "phi": t.PhiConfig(**small, intermediate_size=24, max_position_embeddings=32),
        "phi3": t.Phi3Config(**llama, pad_token_id=0),
        "bert": t.BertConfig(**small, intermediate_size=24, max_position_embeddings=32),
        "roberta": t.RobertaConfig(**small, intermediate_size=24, max_position_embeddings=40),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_runs_block_by_block_as_the_whole_model_does(tmp_path, family, rows, tiny_calibration_folder):
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    torch.manual_seed(0)
    kind = AutoModelForCausalLM if FAMILIES[family].causal else AutoModelForMaskedLM
    model = kind.from_config(families()[family]).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "model")
    checkpoint = Checkpoint(tmp_path / "model")
    runner, found = BlockRunner(checkpoint, *rows), []
    last = model.get_submodule(checkpoint.family.blocks)[1]
    last.register_forward_hook(lambda *call: found.append(call[2][0] if isinstance(call[2], tuple) else call[2]))
    valid = torch.arange(rows[0].shape[1]) < rows[1][:, None]
    with torch.inference_mode():
        model(input_ids=rows[0], attention_mask=valid.long())
    for number in (0, 1):
        runner.run(number, runner.load(number))
    torch.testing.assert_close(runner.hidden[valid], found[0][valid], atol=1e-5, rtol=1e-4)
    compress(
        tmp_path / "model", tmp_path / "cell", method="gptq", level="8", calibration_folder=tiny_calibration_folder
    )
    record = read_record(tmp_path / "cell")
    assert len(record["layers"]) == 2 * len(checkpoint.family.layers)
    assert max(entry["error"] for entry in record["layers"].values()) < 1e-3


def test_what_is_wrong_is_named(tmp_path, tiny_model_folder, tiny_calibration_folder):
    out = tmp_path / "cell"

    def fails(message, folder=tiny_model_folder, **arguments):
        with pytest.raises(PalimpsestError, match=message):
            compress(folder, out, **({"method": "wanda", "level": "0.5"} | arguments))
        assert not out.exists() and not list(tmp_path.glob(".cell*"))

    fails("needs the inputs of each layer", calibration_folder=None)
    fails("no such folder", folder=tmp_path / "nowhere", calibration_folder=tiny_calibration_folder)
    fails("no such folder", calibration_folder=tmp_path / "nowhere")
    fails("takes sparsity", level="k0.5", calibration_folder=tiny_calibration_folder)
    fails("Did you mean 'wanda'", method="wonda")
    fails("level 'full'", method="dense", level="0.5")

    other = shutil.copytree(tiny_model_folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    write_json(other / "config.json", config | {"model_type": "mamba"})
    fails("changed or damaged", folder=other, method="rtn", level="4")
    (other / "digests.json").unlink()
    fails("model_type is 'mamba'.*Known: bert.*gpt2", folder=other, method="rtn", level="4")
    write_json(other / "config.json", config | {"num_hidden_layers": 3})
    fails("3 blocks; the weights have 2", folder=other, calibration_folder=tiny_calibration_folder)
    write_json(other / "config.json", config | {"max_position_embeddings": 8})
    fails("model takes 8", folder=other, calibration_folder=tiny_calibration_folder)
    write_json(other / "config.json", config)
    tensors = load_file(other / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    fails("model.layers.1.mlp.up_proj: 1 of 1536 weights", folder=other, method="rtn", level="4")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = 0
    tensors["model.embed_tokens.weight"][:] = float("inf")
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    fails("model.layers.0.self_attn.q_proj.*NaN", folder=other, calibration_folder=tiny_calibration_folder)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    fails("no tensor 'model.layers.1.mlp.up_proj.weight'", folder=other, method="rtn", level="4")

    with atomic_folder(tmp_path / "calibration") as temporary:
        save_file(
            {"input_ids": torch.full((2, 4), 9999), "lengths": torch.tensor([4, 4])}, temporary / "tokens.safetensors"
        )
        write_json(temporary / "calibration.json", {})
    fails("token 9999.*another tokenizer", calibration_folder=tmp_path / "calibration")


def test_a_larger_model_with_grouped_heads_and_untied_head_works(tmp_path, make_tiny_model, tiny_calibration_folder):
    folder = make_tiny_model(
        tmp_path / "model", seed=1, num_hidden_layers=3, tie_word_embeddings=False, head_dim=16, mlp_bias=True
    )
    compress(folder, tmp_path / "cell", method="gptq", level="4", calibration_folder=tiny_calibration_folder)
    assert len(read_record(tmp_path / "cell")["layers"]) == 21
    palimpsest.load(tmp_path / "cell")


@pytest.mark.parametrize("propagate", [True, False])
def test_true_sequential_lets_a_group_see_those_before_it_compressed(
    tmp_path, tiny_model_folder, tiny_calibration_folder, rows, propagate
):
    """The inputs that o_proj of block 1 was calibrated on, found again by running the half-compressed model."""
    cell, block, dense = tmp_path / "cell", "model.layers.1", Checkpoint(tiny_model_folder)
    compress(
        tiny_model_folder,
        cell,
        method="gptq",
        level="3",
        options={"true_sequential": True},
        calibration_folder=tiny_calibration_folder,
        propagate=propagate,
    )
    record = read_record(cell)
    compressed = read_layers(cell, record)
    model, _ = palimpsest.load(tiny_model_folder)
    queries = [f"{block}.self_attn.{name}_proj" for name in "qkv"]
    for name, weight in compressed.items():
        if name in queries or (propagate and name.startswith("model.layers.0")):
            model.get_submodule(name).weight.data = weight.dense()
    for layer in ("self_attn.o_proj", "self_attn.q_proj"):
        found = []
        module = model.get_submodule(f"{block}.{layer}")
        hook = module.register_forward_pre_hook(lambda _, arguments, found=found: found.append(arguments[0]))
        with torch.inference_mode():
            model(input_ids=rows[0])
        hook.remove()
        x = found[0][torch.arange(rows[0].shape[1]) < rows[1][:, None]]
        w, approximation = dense.matrix(f"{block}.{layer}"), compressed[f"{block}.{layer}"].dense()
        error = ((x @ (approximation - w).T).norm() ** 2 / (x @ w.T).norm() ** 2).item()
        assert record["layers"][f"{block}.{layer}"]["error"] == pytest.approx(error, rel=1e-3)
