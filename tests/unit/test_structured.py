"""Structured pruning: an artifact without heads and channels is the model from which they were taken out."""

from __future__ import annotations

import json
from math import prod

import pytest
import torch
import transformers
from test_compression_walk import families
from torch import nn

import palimpsest
from palimpsest import compress_weight
from palimpsest.calibration import read_rows
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.compression.cell import compress
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.families import FAMILIES
from palimpsest.compression.progress import Progress
from palimpsest.compression.structured import rows_of_units
from palimpsest.compression.walk import Recipe, Walk
from palimpsest.compression.weights import CompressedWeight, Sliced
from palimpsest.levels import parse
from palimpsest.provenance import PalimpsestError

HEADS, GROUPS, SIZE, CHANNELS = 8, 4, 4, 40  # where a family has groups of heads; the others have as many as heads
HIDDEN = HEADS * SIZE


def configuration(family):
    """The family's small configuration, with eight heads (four groups of two where heads share keys and values)."""
    config = families()[family]
    changes = {"hidden_size": HIDDEN, "num_attention_heads": HEADS, "vocab_size": 60, "num_hidden_layers": 2}
    if hasattr(config, "num_key_value_heads"):
        changes |= {"num_key_value_heads": GROUPS}
    if hasattr(config, "head_dim"):
        changes |= {"head_dim": SIZE}
    for name in ("intermediate_size", "ffn_dim", "n_inner"):
        if hasattr(config, name):
            changes |= {name: CHANNELS}
    if family == "opt":
        changes |= {"word_embed_proj_dim": HIDDEN}
    again = {"n_embd": changes.pop("hidden_size"), "n_layer": 2, "n_head": HEADS} if family == "gpt2" else {}
    return type(config)(**{"max_position_embeddings": 40, "pad_token_id": 0} | changes | again)


@pytest.fixture(scope="module")
def dense_folder(tmp_path_factory, tiny_tokenizer):
    """Makes the folder of a random model of a family, biases and norms included."""
    made = {}

    def make(family):
        if family not in made:
            torch.manual_seed(1)
            kind = transformers.AutoModelForCausalLM if FAMILIES[family].causal else transformers.AutoModelForMaskedLM
            model = kind.from_config(configuration(family))
            for parameter in model.parameters():
                parameter.data.add_(0.15 * torch.randn_like(parameter))
            made[family] = tmp_path_factory.mktemp(family)
            model.save_pretrained(made[family])
            tiny_tokenizer.save_pretrained(made[family])
        return made[family]

    return make


@pytest.fixture(scope="module")
def rows(tiny_calibration_folder):
    return read_rows(tiny_calibration_folder)[:2]


def logits(model, tokens):
    with torch.inference_mode():
        return model(input_ids=tokens).logits


def prune(dense_folder, family, cell, calibration, level="0.5", **options):
    folder = dense_folder(family)
    compress(folder, cell, method="structured", level=level, calibration_folder=calibration, options=options)
    return folder, read_record(cell), read_layers(cell, read_record(cell))


def take(layer, kept_rows=None, kept_columns=None):
    """Cut a Linear or Conv1D down to some of its outputs and inputs."""
    conv = not isinstance(layer, nn.Linear)
    weight = layer.weight.data.T if conv else layer.weight.data
    if kept_rows is not None:
        weight = weight[kept_rows]
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias.data[kept_rows])
    if kept_columns is not None:
        weight = weight[:, kept_columns]
    layer.weight = nn.Parameter((weight.T if conv else weight).contiguous())
    if conv:
        layer.nf = weight.shape[0]


def heads(numbers, size=SIZE, start=0):
    """The rows of some heads of `size` rows each."""
    return [start + number * size + row for number in numbers for row in range(size)]


def amputate(family, block, groups, channels):
    """Take all but some groups of heads and some MLP channels out of a transformers block."""
    if family == "llama":
        queries = [head for group in groups for head in (2 * group, 2 * group + 1)]  # two heads share a key and a value
        take(block.self_attn.q_proj, heads(queries))
        take(block.self_attn.k_proj, heads(groups))
        take(block.self_attn.v_proj, heads(groups))
        take(block.self_attn.o_proj, None, heads(queries))
        take(block.mlp.gate_proj, channels)
        take(block.mlp.up_proj, channels)
        take(block.mlp.down_proj, None, channels)
    elif family == "opt":
        for projection in (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj):
            take(projection, heads(groups))
        take(block.self_attn.out_proj, None, heads(groups))
        block.self_attn.num_heads = len(groups)
        take(block.fc1, channels)
        take(block.fc2, None, channels)
    elif family == "gpt2":
        take(block.attn.c_attn, [row for part in range(3) for row in heads(groups, start=part * HIDDEN)])
        take(block.attn.c_proj, None, heads(groups))
        block.attn.split_size = len(groups) * SIZE
        take(block.mlp.c_fc, channels)
        take(block.mlp.c_proj, None, channels)
    else:
        take(block.attention.query_key_value, heads(groups, 3 * SIZE))
        take(block.attention.dense, None, heads(groups))
        take(block.mlp.dense_h_to_4h, channels)
        take(block.mlp.dense_4h_to_h, None, channels)


@pytest.mark.parametrize("compensate", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt"])
def test_the_artifact_is_the_model_with_heads_and_channels_taken_out(
    tmp_path, dense_folder, tiny_calibration_folder, rows, family, compensate
):
    folder, record, layers = prune(
        dense_folder, family, tmp_path / "cell", tiny_calibration_folder, compensate=compensate
    )
    model, _ = palimpsest.load(folder)
    checkpoint, (attention, mlp) = Checkpoint(folder), FAMILIES[family].couplings
    width = 2 * SIZE if family == "llama" else SIZE
    for number, block in enumerate(model.get_submodule(checkpoint.blocks_path)):
        found = [layers[checkpoint.layer_name(number, coupling.consumer)] for coupling in (attention, mlp)]
        groups = [group for group in range(HIDDEN // width) if found[0].kept_columns[group * width]]
        channels = found[1].kept_columns.nonzero().flatten().tolist()
        assert len(groups) == HIDDEN // width // 2 and len(channels) == CHANNELS // 2
        amputate(family, block, groups, channels)
        if compensate:
            for coupling, compressed in zip((attention, mlp), found, strict=True):
                layer = block.get_submodule(coupling.consumer)
                assert not torch.equal(compressed.values, layer.weight.T if family == "gpt2" else layer.weight)
                layer.weight.data = compressed.values.T if family == "gpt2" else compressed.values
    loaded, _ = palimpsest.load(tmp_path / "cell")
    torch.testing.assert_close(logits(loaded, rows[0]), logits(model, rows[0]), atol=2e-4, rtol=1e-4)
    dense, _ = palimpsest.load(folder)
    assert (logits(dense, rows[0]) - logits(loaded, rows[0])).abs().max() > 0.1
    assert record["achieved"] == {"sparsity": 0.5}
    kept = sum(parameter.numel() for parameter in model.parameters())
    assert sum(layer.values.numel() for layer in layers.values()) + record["sizes"]["dense_bytes_referred"] // 4 == (
        kept + _biases_left(dense, model)
    )


def _biases_left(dense, model):
    """Biases of removed rows stay in the checkpoint."""
    counts = [sum(p.numel() for name, p in one.named_parameters() if name.endswith("bias")) for one in (dense, model)]
    return counts[0] - counts[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_removed_is_read_by_nothing(tmp_path, dense_folder, tiny_calibration_folder, rows, family):
    """In every family: giving the producers their removed rows back changes no logit; giving the consumers does."""
    folder, record, layers = prune(dense_folder, family, tmp_path / "cell", tiny_calibration_folder, compensate=False)
    model, checkpoint = palimpsest.load(tmp_path / "cell")[0], Checkpoint(folder)
    assert len(layers) == len(record["layers"]) == 2 * len(FAMILIES[family].layers)
    for layer in layers.values():  # half of each matrix is gone, and of nothing else
        assert layer.achieved() == {"sparsity": 0.5} and (layer.dense() == 0).double().mean() == 0.5
    before = logits(model, rows[0])

    def give_back(names):
        for number in (0, 1):
            for name in names:
                whole = checkpoint.layer_name(number, name)
                weight = checkpoint.tensor(checkpoint.tensor_name(whole))
                model.get_submodule(whole).weight.data = weight

    give_back([producer for coupling in FAMILIES[family].couplings for producer in coupling.producers])
    torch.testing.assert_close(logits(model, rows[0]), before, atol=2e-5, rtol=1e-4)
    give_back([FAMILIES[family].couplings[0].consumer])
    assert (logits(model, rows[0]) - before).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_couplings_name_every_matrix_of_a_block_once(family):
    named = [name for coupling in FAMILIES[family].couplings for name in (coupling.consumer, *coupling.producers)]
    assert sorted(named) == sorted(FAMILIES[family].layers)


def test_bytes_are_those_of_the_smaller_matrices_and_a_bit_for_each_row_or_column(
    tmp_path, dense_folder, tiny_calibration_folder
):
    folder, record, layers = prune(dense_folder, "llama", tmp_path / "cell", tiny_calibration_folder, level="0.25")
    expected = 0
    for layer in layers.values():
        consumer = not layer.kept_columns.all()
        units = {HIDDEN: HIDDEN, GROUPS * SIZE: GROUPS * SIZE, CHANNELS: CHANNELS}[layer.shape[1 if consumer else 0]]
        assert layer.values.numel() == prod(layer.shape) * 3 // 4
        expected += 4 * layer.values.numel() + -(-units // 8)
    assert record["sizes"]["payload_bytes"] == expected
    stored = (tmp_path / "cell" / "weights.safetensors").stat().st_size
    assert expected < stored < expected + 8192 and stored < 0.85 * 4 * record["sizes"]["compressed_parameters"]
    assert record["achieved"] == {"sparsity": 0.25} and folder.exists()


def test_the_second_block_is_chosen_on_what_the_pruned_first_one_answers(
    tmp_path, dense_folder, tiny_calibration_folder, rows
):
    folder, record, layers = prune(dense_folder, "llama", tmp_path / "cell", tiny_calibration_folder)
    model, checkpoint = palimpsest.load(tmp_path / "cell")[0], Checkpoint(folder)
    for name in FAMILIES["llama"].layers:  # block 1 dense again
        whole = checkpoint.layer_name(1, name)
        model.get_submodule(whole).weight.data = checkpoint.matrix(whole)
    found = {}
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        layer = model.get_submodule(checkpoint.layer_name(1, name))
        layer.register_forward_pre_hook(lambda _, arguments, name=name: found.update({name: arguments[0]}))
    logits(model, rows[0])
    assert record["propagate"] is True
    for name, unit in (("self_attn.o_proj", 2 * SIZE), ("mlp.down_proj", 1)):
        x = found[name][torch.arange(rows[0].shape[1]) < rows[1][:, None]].double()
        w = checkpoint.matrix(checkpoint.layer_name(1, name)).double()
        energies = torch.stack(
            [(x[:, columns] @ w[:, columns].T).square().sum() for columns in torch.arange(w.shape[1]).split(unit)]
        )
        kept = layers[checkpoint.layer_name(1, name)].kept_columns[::unit]
        assert energies[kept].min() > energies[~kept].max()


def test_an_allocation_gives_levels_to_the_consumers(tmp_path, dense_folder, tiny_calibration_folder, rows):
    checkpoint = Checkpoint(dense_folder("llama"))
    levels = {"model.layers.0.mlp.down_proj": parse("0.75"), "model.layers.1.self_attn.o_proj": parse("0.25")}
    progress = Progress(tmp_path / "walk", {})
    Walk(checkpoint, [Recipe("structured", parse("0.5"), by_layer=levels)], [progress]).with_inputs(*rows, False)
    achieved = {name: entry["achieved"] for number in (0, 1) for name, entry in progress.entries(number).items()}
    assert len(achieved) == 14
    for name, found in achieved.items():
        group = {"mlp": 0.75} if ".0." in name else {"self_attn": 0.25}
        share = group.get(name.split(".")[3])
        assert found == ({"kept_share": 1.0} if share is None else {"sparsity": share})


def test_a_damaged_producer_is_named(tmp_path, dense_folder, tiny_calibration_folder, monkeypatch):
    whole = Checkpoint.matrix

    def damaged(self, name):
        weight = whole(self, name).clone()
        if name.endswith("0.mlp.up_proj"):
            weight[2, 3] = float("nan")
        return weight

    monkeypatch.setattr(Checkpoint, "matrix", damaged)
    with pytest.raises(PalimpsestError, match=r"model.layers.0.mlp.up_proj: 1 of 1280 weights are NaN"):
        prune(dense_folder, "llama", tmp_path / "cell", tiny_calibration_folder)


def test_rows_of_fused_projections_are_found_in_each_of_the_stacked_matrices():
    kept = torch.tensor([True, False])
    assert rows_of_units(kept, 4, 4).tolist() == [True, True, False, False]
    assert rows_of_units(kept, 8, 4, stacked=3).tolist() == [True, True, False, False, True, False, True, False]
    assert rows_of_units(kept, 4, 2, stacked=2).tolist() == [True, False, True, False]


@pytest.fixture(scope="module")
def layer():
    """W (20, 48) and correlated X (300, 48)."""
    draws = torch.Generator().manual_seed(2)
    mixing = torch.randn(48, 48, generator=draws) / 7 + torch.eye(48)
    return torch.randn(20, 48, generator=draws), torch.randn(300, 48, generator=draws) @ mixing


@pytest.mark.parametrize("level", ["0.1", "0.5", "0.9"])
def test_a_lone_matrix_loses_the_channels_of_least_energy_and_is_refitted(layer, level):
    w, x = (tensor.double() for tensor in layer)
    plain, refitted = (compress_weight(*layer, "structured", level, compensate=choice) for choice in (False, True))
    energy = torch.stack([torch.outer(x[:, j], w[:, j]).square().sum() for j in range(48)])
    removed = energy.sort().indices[: int(float(level) * 48)]
    assert (~plain.kept_columns).nonzero().flatten().tolist() == sorted(removed.tolist())
    assert torch.equal(plain.dense(), layer[0] * plain.kept_columns)

    # min ‖XWᵀ - X_K Vᵀ‖² / tokens + δ‖V - W_K‖², as one ordinary least-squares problem
    kept = refitted.kept_columns
    ridge = (0.01 * (x.square().sum(0) / 300).mean()).sqrt()
    left = torch.cat([x[:, kept] / 300**0.5, ridge * torch.eye(int(kept.sum()))])
    right = torch.cat([x @ w.T / 300**0.5, ridge * w[:, kept].T])
    reference = torch.linalg.lstsq(left, right, driver="gelsd").solution.T
    torch.testing.assert_close(refitted.dense()[:, kept].double(), reference, atol=1e-5, rtol=1e-4)
    errors = [((one.dense().double() - w) @ x.T).norm() for one in (plain, refitted)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("shape", [(5, 9), (1, 9), (5, 1), (1, 1)])
@pytest.mark.parametrize("level", ["0.0", "0.3", "0.5", "0.95"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_share_of_channels_is_exact_and_reading_back_gives_the_same(shape, level, dtype):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    compressed = compress_weight(w, torch.randn(3, shape[1]), "structured", level)
    assert int((~compressed.kept_columns).sum()) == int(float(level) * shape[1])
    assert compressed.dense().dtype == dtype and (level != "0.0" or torch.equal(compressed.dense(), w))
    again = CompressedWeight.from_tensors(compressed.tensors(), json.loads(json.dumps(compressed.metadata())))
    assert torch.equal(again.dense(), compressed.dense()) and again.nbytes == compressed.nbytes
    masks = -(-shape[1] // 8) if not compressed.kept_columns.all() else 0
    assert compressed.nbytes == compressed.values.nbytes + masks


def test_a_sliced_matrix_multiplies_as_its_dense_one(layer):
    w, x = layer
    rows, columns = torch.arange(20) % 3 != 0, torch.arange(48) % 5 != 0
    sliced = Sliced(w[rows][:, columns], rows, columns)
    assert sliced.achieved()["sparsity"] == pytest.approx(1 - sliced.values.numel() / w.numel())
    torch.testing.assert_close(sliced.linear(x.view(3, 100, 48)), (x @ sliced.dense().T).view(3, 100, 20))
    torch.testing.assert_close(
        sliced.beside(input_scale=torch.full((48,), 2.0)).linear(x), x @ sliced.dense().T, atol=1e-5, rtol=1e-5
    )


def test_patterns_are_refused_with_what_is_right(layer):
    with pytest.raises(PalimpsestError, match=r"structured has no level 2:4; it takes sparsity|no level '2:4'"):
        compress_weight(*layer, "structured", "2:4")
