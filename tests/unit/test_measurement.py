"""Sizes are those of the files; times and memory are those of the work."""

import time

import pandas
import pytest
import torch

from palimpsest.compression.cell import compress
from palimpsest.grid import Cell, Variant
from palimpsest.measurement.sizes import sizes
from palimpsest.measurement.speed import interleaved, latency, peak_memory
from palimpsest.measurement.study import measure


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_model_folder):
    """A study's folder with a dense cell, one of 4 bits and one with half its weights."""
    folder = tmp_path_factory.mktemp("results")
    for cell in CELLS:
        compress(tiny_model_folder, folder / cell.path, method=cell.method, level=cell.level)
    return folder


CELLS = [
    Cell("tiny", "dense", "dense", "full", 0),
    Cell("tiny", "rtn", "rtn", "4", 0),
    Cell("tiny", "magnitude", "magnitude", "0.5", 0),
]


def sizes_of(results, number):
    return {metric: value for metric, value, _ in sizes(results / CELLS[number].path, None)}


def test_a_dense_cell_has_the_bits_of_its_checkpoint(results):
    found = sizes_of(results, 0)
    assert found["bits_per_weight"] == 32
    assert found["bytes_total"] == 4 * found["parameters"]


def test_artifact_bytes_are_those_of_its_file(results):
    packed = sizes_of(results, 1)
    file = (results / CELLS[1].path / "weights.safetensors").stat().st_size
    assert packed["bytes_artifact"] <= file <= packed["bytes_artifact"] + 8000  # the file has a header
    assert 4 < packed["bits_per_weight"] < 6


def test_total_is_the_artifact_and_the_dense_tensors_that_it_needs(results):
    dense, packed = sizes_of(results, 0), sizes_of(results, 1)
    assert dense["bytes_total"] - dense["bytes_artifact"] == packed["bytes_total"] - packed["bytes_artifact"]


def test_adapter_bytes_count(results, tiny_model_folder, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model_folder), LoraConfig(r=2, target_modules=["q_proj"])
    )
    model.save_pretrained(tmp_path)
    found = {metric: value for metric, value, _ in sizes(results / CELLS[1].path, tmp_path)}
    extra = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert found["parameters_extra"] == extra
    assert found["bytes_adapter"] == 4 * extra
    assert found["bytes_total"] == sizes_of(results, 1)["bytes_total"] + 4 * extra


def test_peak_memory_is_that_of_the_work():
    def work():
        return torch.ones(12_500_000).max()

    peak = peak_memory(work)
    assert 50_000_000 <= peak < 90_000_000


def test_failed_work_is_no_measurement(capfd):
    with pytest.raises(ChildProcessError):
        peak_memory(lambda: 1 / 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_rounds_are_interleaved_and_the_first_does_not_count():
    order = []
    measures = [lambda number=number: order.append(number) or (number, 0.0) for number in range(3)]
    found = interleaved(measures, repeats=2)
    assert [sorted(order[start : start + 3]) for start in (0, 3, 6)] == [[0, 1, 2]] * 3
    assert found == [[(number, 0.0)] * 2 for number in range(3)]


def test_longer_work_takes_longer(tiny_model_folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    tokens = torch.ones(1, 200, dtype=torch.long)
    latency(model, tokens, 2)
    started = time.perf_counter()
    prefill, decode = latency(model, tokens, 8)
    assert prefill + 8 * decode == pytest.approx(1e3 * (time.perf_counter() - started), rel=0.5)


class SmallGrid:
    def variants(self):
        return [Variant(cell) for cell in CELLS]


def test_every_variant_has_every_measurement(results, tmp_path):
    measure(results, SmallGrid(), tmp_path / "m.parquet", context=8, new_tokens=2, repeats=3)
    table = pandas.read_parquet(tmp_path / "m.parquet")
    counts = table.groupby("metric").size()
    assert set(counts) == {3}
    assert {"bytes_artifact", "bytes_total", "bits_per_weight", "peak_memory_bytes", "prefill_ms", "decode_ms"} <= set(
        counts.index
    )
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()
    assert set(table.loc[table.metric == "prefill_ms", "n"]) == {3}
