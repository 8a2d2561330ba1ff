"""qlora trains beside layers that stay packed, and gives what lora gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from palimpsest.compression.cell import compress
from palimpsest.loading import load
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.adapters import adapter_state
from palimpsest.recovery.packed import PackedLinear, keep_packed
from palimpsest.recovery.train import recover

# Cells of integers, of NF4, of integers with inputs rounded to 8 bits, and of kept integers alone.
CELLS = {
    "rtn": {"method": "rtn", "level": "3g8"},
    "nf4": {"method": "nf4", "level": "nf4"},
    "smoothquant": {"method": "smoothquant", "level": "w8a8"},
    "joint": {"method": "sparsegpt", "level": "0.5+4"},
}
TEXT = "Alba lives in Torun .\nMiro lives in Lund .\nTanel works as a nurse .\nIda was born in Faro .\n"


@pytest.fixture(scope="module")
def cells(tiny_model_folder, tiny_calibration_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    for name, changes in CELLS.items():
        compress(tiny_model_folder, folder / name, calibration_folder=tiny_calibration_folder, **changes)
    compress(tiny_model_folder, folder / "magnitude", method="magnitude", level="0.5")
    return folder


def packed_bytes(model):
    return sum(
        tensor.nbytes for layer in model.modules() if isinstance(layer, PackedLinear) for tensor in layer.buffers()
    )


@pytest.mark.parametrize("cell", CELLS)
def test_packed_layers_answer_and_pass_gradients_as_dense_ones_do(cells, cell):
    dense, packed = load(cells / cell)[0], load(cells / cell)[0]
    names = keep_packed(packed, cells / cell)
    assert all(isinstance(packed.get_submodule(name), PackedLinear) for name in names) and len(names) == 14
    embedded = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
    answers, gradients = [], []
    for model in (dense, packed):
        inputs = embedded.clone().requires_grad_()
        answer = model(inputs_embeds=inputs).logits
        answer.sin().sum().backward()
        answers.append(answer.detach())
        gradients.append(inputs.grad)
    torch.testing.assert_close(answers[1], answers[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-3)


def test_packed_layer_keeps_the_stored_bytes_and_no_dense_matrix_for_the_gradient(cells):
    model, _ = load(cells / "rtn")
    keep_packed(model, cells / "rtn")
    layer = model.model.layers[0].mlp.gate_proj
    assert not [name for name, _ in layer.named_parameters() if "weight" in name]
    assert packed_bytes(layer) == layer.compressed.nbytes < layer.in_features * layer.out_features
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.shape) or tensor, lambda tensor: tensor
    ):
        layer(torch.randn(2, 32, requires_grad=True)).sum()
    assert (48, 32) not in map(tuple, kept) and (32, 48) not in map(tuple, kept)


@pytest.mark.parametrize("cell", CELLS)
def test_qlora_gives_what_lora_gives(cells, tmp_path, cell):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    settings = {"text": tmp_path / "text.txt", "validation": tmp_path / "text.txt", "options": {"rank": 2, "alpha": 4}}
    settings |= {"steps": 6, "batch_size": 2, "learning_rate": 0.01, "validate_every": 3}
    made = {method: recover(cells / cell, tmp_path / method, method=method, **settings) for method in ("lora", "qlora")}
    assert made["qlora"]["validation_loss"] == pytest.approx(made["lora"]["validation_loss"], abs=1e-4)
    assert made["qlora"]["parameters_extra"] == made["lora"]["parameters_extra"]
    states = [adapter_state(load(tmp_path / method)[0]) for method in ("lora", "qlora")]
    for name, tensor in states[0].items():
        # AdamW turns a gradient of nearly zero into a step of full size, so a few entries may differ by steps.
        assert (states[1][name] - tensor).abs().mean() < 1e-3, name


@pytest.mark.parametrize(("cell", "kinds"), [("magnitude", "sparse"), ("dense", "dense")])
def test_qlora_is_refused_where_nothing_is_quantized(cells, tiny_model_folder, tmp_path, cell, kinds):
    folder = tiny_model_folder if cell == "dense" else cells / cell
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(
        PalimpsestError, match=f"layers that stay quantized, and this cell has none .*{kinds}.*use lora"
    ):
        recover(folder, tmp_path / "adapter", method="qlora", options={}, text=tmp_path / "text.txt")


def test_rounded_inputs_let_gradients_through(cells):
    model, _ = load(cells / "smoothquant")
    layer = model.model.layers[0].self_attn.q_proj
    inputs = torch.randn(3, 32, requires_grad=True)
    layer(inputs).sum().backward()
    expected = torch.ones(3, 32) @ torch.eye(32) * layer.weight.sum(0)
    torch.testing.assert_close(inputs.grad, expected)
    assert isinstance(layer, nn.Linear) and torch.equal(layer(inputs.detach()), layer(inputs).detach())
