"""Sizes are those of the files; times and memory are those of the work."""

import time

import pandas
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model

from palimpsest.compression.cell import compress
from palimpsest.evaluation.forward import Forward
from palimpsest.grid import Cell, Variant
from palimpsest.measurement.rounds import VARIANT, Rounds, ratios, spread
from palimpsest.measurement.sizes import sizes
from palimpsest.measurement.speed import clock_of, interleaved, latency, peak_memory
from palimpsest.measurement.study import measure


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_model_folder):
    """A study's folder with a dense cell, one of 4 bits, one with half its weights and one of low rank."""
    folder = tmp_path_factory.mktemp("results")
    for cell in CELLS:
        compress(tiny_model_folder, folder / cell.path, method=cell.method, level=cell.level)
    return folder


CELLS = [
    Cell("tiny", "dense", "dense", "full", 0),
    Cell("tiny", "rtn", "rtn", "4", 0),
    Cell("tiny", "magnitude", "magnitude", "0.5", 0),
    Cell("tiny", "svd", "svd", "k0.6", 0),
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


@pytest.fixture
def forward(tiny_model_folder):
    from transformers import AutoModelForCausalLM

    return Forward(AutoModelForCausalLM.from_pretrained(tiny_model_folder))


def test_longer_work_takes_longer(forward):
    tokens = [1] * 200
    latency(forward, tokens, 2)
    started = time.perf_counter()
    prefill, decode = latency(forward, tokens, 8)
    assert prefill + 8 * decode == pytest.approx(1e3 * (time.perf_counter() - started), rel=0.5)


def test_prefill_is_one_pass_and_each_new_token_another(forward):
    before = forward.passes
    latency(forward, [5, 6, 7], 4)
    assert forward.passes - before == 1 + 4


def test_no_pass_that_is_timed_records_gradients(forward):
    call, modes = forward.call, []

    def watched(*arguments, **more):
        modes.append(torch.is_inference_mode_enabled())
        return call(*arguments, **more)

    forward.call = watched
    latency(forward, [5, 6, 7], 2)
    assert modes == [True] * 3


def test_what_else_the_machine_does_is_in_no_time_of_a_single_thread(forward, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    latency(forward, [1] * 20, 2)
    call = forward.call

    def interrupted(*arguments, **more):
        time.sleep(0.05)
        return call(*arguments, **more)

    forward.call = interrupted
    assert max(latency(forward, [1] * 20, 2, clock_of(forward.device))) < 50
    assert min(latency(forward, [1] * 20, 2)) > 50
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert clock_of(forward.device) is clock_of(torch.device("cuda")) is time.perf_counter


ROW = dict(zip(VARIANT, ("tiny", "rtn", "rtn", "4", 0, "none"), strict=True))


def test_rounds_come_back_as_they_were_written(tmp_path):
    rounds = Rounds()
    rounds.add(ROW, "plain", 64, [(2.0, 1.0), (3.0, 1.5)])
    rounds.add(ROW | {"recovery": "lora"}, "merged", 16, [(4.0, 1.0), (4.5, 3.0)])
    rounds.table().sample(frac=1, random_state=0).to_parquet(tmp_path / "latency.parquet")
    found = Rounds.read(tmp_path / "latency.parquet")
    assert found.of(ROW, "plain", 64, "prefill") == [2.0, 3.0]
    assert found.of(ROW | {"recovery": "lora"}, "merged", 16, "decode") == [1.0, 3.0]
    assert found.of(ROW, "merged", 64, "decode") is None
    assert found.contexts("tiny") == [16, 64]


def test_a_ratio_is_taken_round_by_round():
    """The machine was half as fast in the second round: the ratio does not notice, that of the medians would."""
    found = spread(ratios([2.0, 4.4, 2.1], [1.0, 2.0, 1.0]))
    assert [found[key] for key in ("value", "low", "high", "n")] == pytest.approx([2.1, 2.0, 2.2, 3])


class SmallGrid:
    def __init__(self, *recovered):
        self.recovered = recovered

    def variants(self):
        return [*map(Variant, CELLS), *self.recovered]


def test_every_variant_has_every_measurement(results, tmp_path):
    measure(results, SmallGrid(), tmp_path / "m.parquet", tmp_path / "l.parquet", context=8, new_tokens=2, repeats=3)
    table = pandas.read_parquet(tmp_path / "m.parquet")
    counts = table.groupby("metric").size()
    every = {"bytes_artifact", "bytes_total", "bits_per_weight", "peak_memory_bytes", "prefill_ms", "decode_ms"}
    assert every <= set(counts.index[counts == 4])
    assert set(counts[["prefill_over_dense", "decode_over_dense"]]) == {3}
    assert set(counts[["prefill_factors_ms", "prefill_factors_over_cell"]]) == {1}
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()
    assert set(table.loc[table.metric == "prefill_ms", "n"]) == {3}
    assert set(table.context[table.metric.str.contains("_ms|_over_")]) == {8}
    assert set(table.context[table.metric.str.contains("bytes")]) == {0}


def adapter(results, cell, recovery, configuration):
    """A recovery of the cell with random weights, as a study has it."""
    import palimpsest
    from palimpsest.provenance import atomic_folder, folder_digest, write_json
    from palimpsest.recovery.adapters import adapter_state, write_adapter

    variant = Variant(cell, recovery)
    folder = results / variant.path / "adapter"
    model = get_peft_model(palimpsest.load(results / cell.path)[0], configuration)
    made_on = {"path": f"../../../../../../../{cell.path}", "digest": folder_digest(results / cell.path)}
    with atomic_folder(folder) as temporary:
        write_adapter(temporary, adapter_state(model), configuration)
        write_json(temporary / "recovery.json", {"method": "lora", "options": {}, "cell": made_on})
    return variant


def test_adapters_are_timed_beside_the_weights_and_merged_at_every_context_that_fits(results, tmp_path):
    lora = adapter(results, CELLS[1], "lora", LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]))
    prompt = adapter(results, CELLS[1], "prompt", PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=50))
    outputs = tmp_path / "m.parquet", tmp_path / "l.parquet"
    measure(results, SmallGrid(lora, prompt), *outputs, context=[8, 250], new_tokens=2, repeats=2)
    table = pandas.read_parquet(outputs[0])
    timed = table[table.metric.str.endswith("_ms") | table.metric.str.contains("_over_")]
    assert set(timed.context) == {8, 256 - 2 - 50}  # the longest prompt leaves so much to all
    of = {name: set(group.metric) for name, group in timed[timed.label == "rtn"].groupby("recovery")}
    plain = {f"{phase}_{what}" for phase in ("prefill", "decode") for what in ("ms", "over_dense", "over_cell")}
    assert of["prompt"] == plain
    assert of["lora"] == plain | {metric.replace("_", "_merged_", 1) for metric in plain}
    assert of["none"] == {metric for metric in plain if "over_cell" not in metric}
    rounds = Rounds.read(outputs[1])
    over = rounds.of(lora.row, "merged", 8, "decode"), rounds.of(Variant(CELLS[1]).row, "plain", 8, "decode")
    said = table[(table.metric == "decode_merged_over_cell") & (table.context == 8)].iloc[0]
    assert said.value == spread(ratios(*over))["value"] and said.n == 2


def test_an_encoder_is_timed_reading_and_generates_nothing(tmp_path):
    from finetuning_example import make_encoder

    encoder = make_encoder(tmp_path / "encoder")
    for cell in CELLS:
        compress(encoder, tmp_path / "results" / cell.path, method=cell.method, level=cell.level)
    outputs = tmp_path / "m.parquet", tmp_path / "l.parquet"
    measure(tmp_path / "results", SmallGrid(), *outputs, context=[4, 8], new_tokens=2, repeats=2)
    counts = pandas.read_parquet(outputs[0]).groupby("metric").size()
    assert counts["prefill_ms"] == 2 * 4 and counts["prefill_factors_over_cell"] == 2 and counts["bytes_total"] == 4
    assert not [metric for metric in counts.index if "decode" in metric]
    assert Rounds.read(outputs[1]).contexts("tiny") == [4, 8]
