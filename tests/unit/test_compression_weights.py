"""What is stored is what was computed, in as many bits as claimed."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from palimpsest import compress_weight
from palimpsest.compression import packing
from palimpsest.compression.packing import chosen, pack, packed_size, unpack
from palimpsest.compression.tensorfile import TensorFile
from palimpsest.compression.weights import CompressedWeight

CASES = [
    ("magnitude", "0.5", {}),
    ("magnitude", "2:4", {}),
    ("magnitude", "1:4", {}),
    ("magnitude", "4:8", {}),
    ("magnitude", "3:7", {}),
    ("rtn", "2", {}),
    ("rtn", "3", {}),
    ("rtn", "8g32", {}),
    ("rtn", "4g30", {"symmetric": True}),
    ("gptq", "3g8", {"act_order": True}),
    ("gptq", "5g8", {"act_order": True, "static_groups": True}),
    ("awq", "4g8", {}),
    ("hqq", "3g30", {"scale_bits": 16}),
    ("nf4", "nf4", {}),
    ("llm-int8", "int8", {"threshold": 3.2}),
    ("sparsegpt", "0.4+3g8", {}),
    ("sparsegpt", "2:4+4g16", {"symmetric": True}),
    ("sparsegpt", "3:7+5", {}),
    ("svd", "k0.5", {}),
    ("svd", "k1.0", {}),
]


@pytest.fixture(scope="module")
def layer():
    draws = torch.Generator().manual_seed(0)
    return torch.randn(24, 72, generator=draws), torch.randn(300, 72, generator=draws)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0, 0.5, 1.1])
def test_chosen_values_are_those_under_the_mask(monkeypatch, dtype, share):
    monkeypatch.setattr(packing, "PIECE", 1000)
    rng = torch.Generator().manual_seed(0)
    for shape in ((37, 129), (1, 1)):
        values = (50 * torch.rand(shape, generator=rng)).to(dtype)
        mask = torch.rand(shape, generator=rng) < share
        assert torch.equal(chosen(values, mask), values[mask])


@pytest.mark.parametrize("width", range(1, 13))
def test_packing_gives_back_every_integer_in_the_least_bytes(width):
    integers = torch.randint(0, 2**width, (1001,), generator=torch.Generator().manual_seed(width))
    packed = pack(integers, width)
    assert torch.equal(unpack(packed, width, 1001).long(), integers)
    assert packed.nbytes == packed_size(1001, width) == -(-1001 * width // 8)


@pytest.mark.parametrize(("method", "level", "options"), CASES)
def test_reading_back_gives_the_same_matrix(layer, method, level, options):
    compressed = compress_weight(*layer, method, level, **options)
    again = CompressedWeight.from_tensors(compressed.tensors(), json.loads(json.dumps(compressed.metadata())))
    assert torch.equal(again.dense(), compressed.dense())
    assert again.nbytes == compressed.nbytes and again.achieved() == compressed.achieved()


@pytest.mark.parametrize(("method", "level", "options"), CASES)
def test_linear_is_the_dense_product(layer, method, level, options):
    w, x = layer
    compressed = compress_weight(w, x, method, level, **options)
    torch.testing.assert_close(compressed.linear(x), compressed.prepare(x) @ compressed.dense().T, atol=1e-3, rtol=1e-4)
    assert torch.equal(compressed.prepare(x), x) == (compressed.activation_bits is None)


@pytest.mark.parametrize(
    ("level", "bits"),
    [
        ("0.5", 0.5 * 32 + 1),
        ("2:4", 0.5 * 32 + 1),  # two places of 2 bits each for every 4 weights
        ("1:4", 0.25 * 32 + 0.5),
        ("4:8", 0.5 * 32 + 1),  # a bitmask: four places of 3 bits would take 12
        ("4", 4 + (32 + 4) / 72),
        ("3g8", 3 + (32 + 3) / 8),
        ("2g36", 2 + (32 + 2) / 36),
        ("k0.5", 9 * (24 + 72) / (24 * 72) * 32),
    ],
)
def test_bits_per_weight_are_those_of_the_format(layer, level, bits):
    method = {"k": "svd", ":": "magnitude", ".": "magnitude"}.get(level[0] if level[0] == "k" else level[1:2], "rtn")
    compressed = compress_weight(layer[0], None, method, level)
    assert compressed.bits_per_weight == pytest.approx(bits)
    assert compressed.nbytes == sum(tensor.nbytes for tensor in compressed.tensors().values())


def test_a_symmetric_grid_stores_no_zeros_and_a_running_group_no_index(layer):
    assert compress_weight(layer[0], None, "rtn", "4g8", symmetric=True).tensors().keys() == {"codes", "scales"}
    assert "groups" not in compress_weight(*layer, "gptq", "4g8").tensors()
    index = compress_weight(*layer, "gptq", "4g8", act_order=True).tensors()["groups"]
    assert index.nbytes == packed_size(72, 4)  # nine groups: 4 bits a column


def test_a_file_written_tensor_by_tensor_is_a_safetensors_file(tmp_path):
    tensors = {
        "b.codes": torch.arange(7, dtype=torch.uint8),
        "b.scales": torch.randn(3, 2).half(),
        "a.values": torch.randn(5),
        "a.empty": torch.zeros(0),
        "c.left": torch.randn(2, 3).bfloat16(),
        "c.codes": torch.arange(5, dtype=torch.uint8),
    }
    file = TensorFile(tmp_path / "weights.safetensors")
    for name, tensor in tensors.items():
        file.add(name, tensor)
    file.close()
    again = load_file(tmp_path / "weights.safetensors")
    assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_file_without_tensors_is_a_safetensors_file(tmp_path):
    TensorFile(tmp_path / "weights.safetensors").close()
    assert load_file(tmp_path / "weights.safetensors") == {}
