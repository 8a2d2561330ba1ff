"""Repairs in closed form are what their formulas say, the best of their rank, and bound to their cell."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_models import make_model_folder, make_tokenizer

import palimpsest
from palimpsest.calibration import draw
from palimpsest.compression import artifact
from palimpsest.compression.cell import compress
from palimpsest.compression.layer import compress_weight
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Dense, LowRank
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, write_json
from palimpsest.recovery.closed import walk as closed_walk
from palimpsest.recovery.closed.inputs import PairedStatistics, target
from palimpsest.recovery.closed.methods import METHODS
from palimpsest.recovery.closed_form import recover
from palimpsest.recovery.refit import refit

QKV = [f"model.layers.{block}.self_attn.{part}_proj" for block in (0, 1) for part in "qkv"]
LEVELS = {"rtn": "3", "magnitude": "0.6", "svd": "k0.6"}


@pytest.fixture(scope="module")
def case():
    """W (24, 40), X (900, 40) with correlated channels of unlike sizes, and W rounded to 2 bits."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 40, generator=generator)
    mixing = torch.randn(40, 40, generator=generator) * torch.logspace(0.5, -1.5, 40)
    inputs = torch.randn(900, 40, generator=generator) @ mixing + 0.3
    return weight, inputs, compress_weight(weight, None, "rtn", "2")


def repaired(case, method, **options):
    weight, inputs, compressed = case
    stats = Statistics.of(inputs, needs=METHODS[method].needs)
    return METHODS[method].repair(weight, compressed, stats, **options)


def correction(case, method, **options):
    return repaired(case, method, **options).correction.dense().double()


def output_error(case, added):
    """‖(W - W′ - BA) X‖ in float64."""
    weight, inputs, compressed = case
    return ((weight.double() - compressed.dense().double() - added) @ inputs.double().T).norm().item()


def truncated_svd(matrix, rank):
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank] @ v[:rank]


def by_formula(case, method, rank, moments="full"):
    """The published formulas, word for word in float64, with inverses and roots."""
    weight, inputs, compressed = case
    error, x = weight.double() - compressed.dense().double(), inputs.double()
    gram = x.T @ x / len(x)
    if method == "eora":
        values, vectors = torch.linalg.eigh(gram)
        root = vectors * values.sqrt()
        return truncated_svd(error @ root, rank) @ torch.linalg.inv(root)
    if method == "qera" and moments == "full":
        values, vectors = torch.linalg.eigh(gram)
        root = (vectors * values.sqrt()) @ vectors.T
        return truncated_svd(error @ root, rank) @ torch.linalg.inv(root)
    scales = gram.diagonal().sqrt() if method == "qera" else x.abs().mean(0)
    return truncated_svd(error * scales, rank) / scales


@pytest.mark.parametrize(
    ("method", "options"), [("eora", {}), ("qera", {}), ("qera", {"moments": "diagonal"}), ("lqer", {})]
)
@pytest.mark.parametrize("rank", [1, 7])
def test_corrections_are_those_of_the_published_formulas(case, method, options, rank):
    expected = by_formula(case, method, rank, **options)
    torch.testing.assert_close(correction(case, method, rank=rank, **options), expected, atol=2e-4, rtol=1e-3)


def test_eora_and_exact_qera_are_one_optimum(case):
    assert torch.equal(correction(case, "eora", rank=5), correction(case, "qera", rank=5))


def test_exact_correction_has_the_smallest_output_error_of_its_rank(case):
    best = output_error(case, correction(case, "qera", rank=4))
    plain = truncated_svd(case[0].double() - case[2].dense().double(), 4)
    lqer, diagonal = correction(case, "lqer", rank=4), correction(case, "qera", rank=4, moments="diagonal")
    assert best < output_error(case, lqer) < output_error(case, plain)
    assert best < output_error(case, diagonal) < output_error(case, plain)
    # By Eckart and Young that is the norm of the singular values that are dropped, and no small change betters it.
    weight, inputs, compressed = case
    answers = (weight.double() - compressed.dense().double()) @ inputs.double().T
    assert best == pytest.approx(torch.linalg.svdvals(answers)[4:].norm().item(), rel=1e-5)
    generator = torch.Generator().manual_seed(1)
    found = repaired(case, "qera", rank=4).correction
    for _ in range(20):
        left = found.left.double() + 1e-2 * torch.randn(found.left.shape, generator=generator)
        right = found.right.double() + 1e-2 * torch.randn(found.right.shape, generator=generator)
        assert output_error(case, left @ right) > best


@pytest.mark.parametrize("method", ["eora", "qera", "lqer"])
def test_errors_fall_with_the_rank_and_full_rank_gives_the_dense_answers(case, method):
    errors = [output_error(case, correction(case, method, rank=rank)) for rank in (1, 3, 8, 16, 24)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4 * errors[0]


def test_inputs_of_any_rank_will_do(case):
    weight, inputs, compressed = case
    stats = Statistics.of(inputs[:10], needs=("gram",))  # 10 tokens, 40 channels: the Gram matrix has no inverse
    found = METHODS["eora"].repair(weight, compressed, stats, rank=10).correction.dense().double()
    left = (weight.double() - compressed.dense().double() - found) @ inputs[:10].double().T
    assert left.norm() < 1e-3 * (weight - compressed.dense()).norm()


@pytest.mark.parametrize(("method", "level"), [("rtn", "2"), ("rtn", "3g8"), ("nf4", "nf4")])
def test_loftq_alternates_rounding_and_svd(case, method, level):
    weight, rank = case[0], 3
    compressed = compress_weight(weight, None, method, level)
    found = METHODS["loftq"].repair(weight, compressed, Statistics(40, needs=()), rank=rank, iterations=3)
    added = torch.zeros_like(weight).double()
    for _ in range(3):
        rounded = compress_weight((weight.double() - added).float(), None, method, level).dense().double()
        added = truncated_svd(weight.double() - rounded, rank)
    torch.testing.assert_close(found.replacement.dense().double(), rounded, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.correction.dense().double(), added, atol=1e-4, rtol=1e-3)
    assert found.replacement.metadata() == compressed.metadata()
    assert found.replacement.nbytes == compressed.nbytes


def test_one_loftq_iteration_is_the_cells_rounding_and_the_svd_of_its_error(case):
    weight, _, compressed = case
    found = repaired(case, "loftq", rank=2, iterations=1)
    assert torch.equal(found.replacement.dense(), compressed.dense())
    expected = truncated_svd((weight - compressed.dense()).double(), 2)
    torch.testing.assert_close(found.correction.dense().double(), expected, atol=1e-5, rtol=1e-4)


def test_two_step_update_is_two_least_squares_problems(case):
    weight, inputs, _ = case
    compressed = compress_weight(weight, None, "svd", "k0.6")
    stats = Statistics.of(inputs, needs=("gram",))
    found = METHODS["svd-llm-update"].repair(weight, compressed, stats).replacement
    x, right = inputs.double(), compressed.right.double()
    left = torch.linalg.lstsq(x @ right.T, x @ weight.double().T).solution.T  # min ‖W X - U V X‖ over U
    torch.testing.assert_close(found.left.double(), left, atol=1e-3, rtol=1e-3)
    second = torch.linalg.lstsq(left, weight.double() @ x.T).solution  # min ‖W X - U Y‖ over Y = V X
    right = torch.linalg.lstsq(x, second.T).solution.T
    torch.testing.assert_close(found.right.double(), right, atol=1e-3, rtol=1e-3)

    def error(approximation):
        return ((weight.double() - approximation.double()) @ x.T).norm().item()

    assert error(found.dense()) < error(left.float() @ compressed.right) < error(compressed.dense())


def test_factors_that_are_the_best_already_are_left_so_by_the_update(case):
    weight, inputs, _ = case
    best = compress_weight(weight, inputs, "svd-llm", "k0.6")
    found = METHODS["svd-llm-update"].repair(weight, best, Statistics.of(inputs)).replacement
    torch.testing.assert_close(found.dense(), best.dense(), atol=2e-3, rtol=1e-3)


def test_target_on_other_inputs_is_the_ridge_regression_of_the_dense_answers(case):
    weight, inputs, _ = case
    other = inputs + 0.3 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(2))
    bias, damping = torch.randn(24, generator=torch.Generator().manual_seed(3)), 0.05
    stats = PairedStatistics(40, "layer", ("gram", "input_means"))
    for part in (slice(0, 400), slice(400, 900)):
        stats.of_dense.add(inputs[part])
        stats.add(other[part])
    found = target(weight, bias, stats, damping).double()
    # Rows of √δ·I drawn to √δ·W are the ridge, as further examples.
    x, y = other.double(), inputs.double() @ weight.double().T - bias.double()
    ridge = (damping * x.square().sum(0).mean()).sqrt()
    rows = torch.cat([x, ridge * torch.eye(40)])
    wanted = torch.cat([y, ridge * weight.double().T])
    expected = torch.linalg.lstsq(rows, wanted).solution.T
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_target_on_the_dense_inputs_is_the_dense_weight(case):
    weight, inputs, _ = case
    assert target(weight, None, Statistics.of(inputs), 0.01) is weight
    stats = PairedStatistics(40, "layer", ("gram",))
    stats.of_dense.add(inputs)
    stats.add(inputs)
    torch.testing.assert_close(target(weight, None, stats, 0.01), weight, atol=1e-5, rtol=1e-5)


# ---- cells


@pytest.fixture(scope="module")
def cells(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("cells")
    for method, level in LEVELS.items():
        compress(tiny_model_folder, folder / method, method=method, level=level)
    return folder


def logits(model):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[1, 5, 9, 12, 30, 31, 40]])).logits


@pytest.mark.parametrize("cell", ["rtn", "magnitude"])
@pytest.mark.parametrize("inputs", ["dense", "compressed"])
def test_full_rank_brings_the_dense_model_back(tmp_path, tiny_calibration_folder, cell, inputs):
    made = recover(
        make_square(tmp_path, cell),
        tmp_path / "adapter",
        method="eora",
        options={"rank": 16, "inputs": inputs},
        calibration_folder=tiny_calibration_folder,
    )
    assert max(said["error"] for said in made["layers"].values()) < 1e-8
    dense, _ = palimpsest.load(tmp_path / "square")
    torch.testing.assert_close(logits(palimpsest.load(tmp_path)[0]), logits(dense), atol=1e-3, rtol=1e-3)


def make_square(folder, method):
    """A cell of a model whose every matrix has a side of 16."""
    make_model_folder(
        folder / "square", hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=2
    )
    compress(folder / "square", folder / "cell", method=method, level=LEVELS[method])
    return folder / "cell"


def test_corrections_are_a_lora_adapter_on_every_compressed_layer(cells, tmp_path, tiny_calibration_folder):
    made = recover(
        cells / "rtn",
        tmp_path / "adapter",
        method="eora",
        options={"rank": 3},
        calibration_folder=tiny_calibration_folder,
    )
    model, _ = palimpsest.load(tmp_path)
    cell = artifact.read_layers(cells / "rtn", artifact.read_record(cells / "rtn"))
    assert made["layers"].keys() == cell.keys()
    assert made["consults_dense"] is True
    assert made["parameters_extra"] == sum(3 * sum(weight.shape) for weight in cell.values())
    for name in QKV:
        layer = model.get_base_model().get_submodule(name)
        assert torch.equal(layer.base_layer.weight, cell[name].dense())
        assert layer.scaling == {"default": 1.0}
        assert made["layers"][name]["error"] < made["layers"][name]["error_before"]


def test_reported_errors_are_those_of_the_loaded_layers(cells, tmp_path, tiny_model_folder, tiny_calibration_folder):
    from palimpsest.calibration import read_rows

    made = recover(
        cells / "rtn", tmp_path / "a", method="eora", options={"rank": 4}, calibration_folder=tiny_calibration_folder
    )
    rows, lengths, _ = read_rows(tiny_calibration_folder)
    dense, _ = palimpsest.load(tiny_model_folder)
    recovered = palimpsest.load(tmp_path / "a")[0].get_base_model()
    name, seen = "model.layers.1.mlp.down_proj", []
    dense.get_submodule(name).register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.inference_mode():
        dense(input_ids=rows)
        x = seen[0][torch.arange(rows.shape[1]) < lengths[:, None]]
        wanted, found = dense.get_submodule(name)(x), recovered.get_submodule(name)(x)
    error = ((wanted - found).norm() / wanted.norm()).square().item()
    assert made["layers"][name]["error"] == pytest.approx(error, rel=1e-3)


def test_on_its_own_inputs_each_layer_answers_what_the_dense_model_does(cells, tmp_path, tiny_calibration_folder):
    """Later layers make up for what earlier ones leave: the model as a whole is nearer to the dense one."""
    from palimpsest.calibration import read_rows

    rows, lengths, _ = read_rows(tiny_calibration_folder)
    valid = torch.arange(rows.shape[1]) < lengths[:, None]
    distance = {}
    for inputs in ("dense", "compressed"):
        recover(
            cells / "svd",
            tmp_path / inputs / "adapter",
            method="svd-llm-update",
            options={"inputs": inputs, "damping": 1e-4},
            calibration_folder=tiny_calibration_folder,
        )
    base = artifact.base_folder(cells / "svd", artifact.read_record(cells / "svd"))
    with torch.inference_mode():
        wanted = palimpsest.load(base)[0].model(input_ids=rows)[0][valid]
        for name, folder in {
            "before": cells / "svd",
            "dense": tmp_path / "dense",
            "compressed": tmp_path / "compressed",
        }.items():
            distance[name] = (palimpsest.load(folder)[0].model(input_ids=rows)[0][valid] - wanted).norm().item()
    assert distance["compressed"] < distance["dense"] < distance["before"]


def test_updated_factors_replace_those_of_the_cell_at_the_same_rank(cells, tmp_path, tiny_calibration_folder):
    made = recover(
        cells / "svd",
        tmp_path / "adapter",
        method="svd-llm-update",
        options={},
        calibration_folder=tiny_calibration_folder,
    )
    assert made["parameters_extra"] == 0 and not (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    before = artifact.read_record(cells / "svd")
    after = artifact.read_record(tmp_path / "adapter" / "cell")
    assert after["sizes"] == before["sizes"] and after["achieved"] == before["achieved"]
    layers = artifact.read_layers(tmp_path / "adapter" / "cell", after)
    assert all(isinstance(layer, LowRank) for layer in layers.values())
    model, _ = palimpsest.load(tmp_path)
    for name in QKV:
        assert made["layers"][name]["error"] < made["layers"][name]["error_before"]
        assert torch.equal(model.get_submodule(name).weight, layers[name].dense())


def test_loftq_loads_its_own_integers_with_its_adapter(cells, tmp_path):
    recover(cells / "rtn", tmp_path / "adapter", method="loftq", options={"rank": 4, "iterations": 2})
    model = palimpsest.load(tmp_path)[0].get_base_model()
    own = artifact.read_layers(tmp_path / "adapter" / "cell", artifact.read_record(tmp_path / "adapter" / "cell"))
    old = artifact.read_layers(cells / "rtn", artifact.read_record(cells / "rtn"))
    for name in QKV:
        assert torch.equal(model.get_submodule(name).base_layer.weight, own[name].dense())
        assert not torch.equal(own[name].codes, old[name].codes)


def test_two_runs_write_the_same_bytes_and_a_killed_one_goes_on(cells, tmp_path, tiny_calibration_folder, monkeypatch):
    def run(output, state=None, inputs="compressed"):
        recover(
            cells / "rtn", output, method="eora", options={"rank": 2, "inputs": inputs},
            calibration_folder=tiny_calibration_folder, state_folder=state,
        )  # fmt: skip

    for inputs in ("dense", "compressed"):
        run(tmp_path / inputs / "a" / "adapter", inputs=inputs)
        real, calls, blocks = closed_walk.Walk._save, [], []

        def killed(self, number, parts, real=real, calls=calls):
            if number == 1 and not calls:
                calls.append(number)
                raise KeyboardInterrupt
            real(self, number, parts)

        monkeypatch.setattr(closed_walk.Walk, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / inputs / "b" / "adapter", tmp_path / "state", inputs)
        assert not (tmp_path / inputs / "b" / "adapter").exists()

        def noted(self, number, parts, real=real, blocks=blocks):
            blocks.append(number)
            real(self, number, parts)

        monkeypatch.setattr(closed_walk.Walk, "_save", noted)
        run(tmp_path / inputs / "b" / "adapter", tmp_path / "state", inputs)
        assert blocks == [1], "the finished block was made again"
        monkeypatch.setattr(closed_walk.Walk, "_save", real)
        assert folder_digest(tmp_path / inputs / "a" / "adapter") == folder_digest(tmp_path / inputs / "b" / "adapter")


def test_an_added_bias_is_taken_into_account(tmp_path, tiny_model_folder, tiny_calibration_folder):
    compress(
        tiny_model_folder, tmp_path / "afm", method="afm", level="k0.6", calibration_folder=tiny_calibration_folder
    )
    for method, options in {"eora": {"rank": 4}, "lqer": {"rank": 4}, "svd-llm-update": {"inputs": "dense"}}.items():
        made = recover(
            tmp_path / "afm", tmp_path / method / "adapter", method=method, options=options,
            calibration_folder=tiny_calibration_folder,
        )  # fmt: skip
        assert all(said["error"] < said["error_before"] * (1 + 1e-6) for said in made["layers"].values())
        palimpsest.load(tmp_path / method)


@pytest.mark.parametrize("seed", range(3))
def test_every_form_of_compression_is_kept_by_refitting(seed):
    generator = torch.Generator().manual_seed(seed)
    weight, inputs = torch.randn(16, 24, generator=generator), torch.randn(200, 24, generator=generator)
    changed = weight + 0.1 * torch.randn(16, 24, generator=generator)
    for method, level, options in [
        ("magnitude", "0.5", {}), ("wanda", "2:4", {}), ("structured", "0.5", {}), ("sparsegpt", "0.5+4g8", {}),
        ("rtn", "3", {"symmetric": True}), ("gptq", "3g8", {"act_order": True}), ("awq", "4g8", {}), ("hqq", "3g8", {}),
        ("nf4", "nf4", {}), ("llm-int8", "int8", {"threshold": 2.5}), ("smoothquant", "w8a8", {}), ("svd", "k0.6", {}),
    ]:  # fmt: skip
        like = compress_weight(weight, inputs, method, level, **options)
        found = refit(changed, like, Statistics(24, needs=()))
        assert found.achieved() == like.achieved(), method
        assert found.activation_bits == like.activation_bits
        assert type(found) is type(like) and found.nbytes <= like.nbytes
        again = type(found).from_tensors(found.tensors(), found.metadata())
        assert torch.equal(again.dense(), found.dense())
        if hasattr(like, "kept"):
            assert torch.equal(found.dense() != 0, like.kept & (found.dense() != 0))
        nearer = (found.dense() - changed).norm() < (like.dense() - changed).norm()
        assert nearer, method


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_matrices_stored_the_other_way_and_encoders_are_repaired_too(tmp_path, family):
    import transformers

    torch.manual_seed(0)
    if family == "gpt2":
        shape = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": 16}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape))
    else:
        shape = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        model = transformers.BertForMaskedLM(
            transformers.BertConfig(**shape, intermediate_size=16, max_position_embeddings=64)
        )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    with atomic_folder(tmp_path / "dense") as folder:
        model.save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
    rows = torch.randint(4, 60, (30, 12), generator=torch.Generator().manual_seed(0))
    with atomic_folder(tmp_path / "calibration") as folder:
        save_file({"input_ids": rows, "lengths": torch.full((30,), 12)}, folder / "tokens.safetensors")
        write_json(folder / "calibration.json", {})
    compress(tmp_path / "dense", tmp_path / "cell", method="rtn", level="3")
    for inputs in ("dense", "compressed"):
        recover(
            tmp_path / "cell", tmp_path / inputs / "adapter", method="eora", options={"rank": 16, "inputs": inputs},
            calibration_folder=tmp_path / "calibration",
        )  # fmt: skip
        expected, found = logits(model.eval()), logits(palimpsest.load(tmp_path / inputs)[0])
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
    assert not torch.allclose(logits(palimpsest.load(tmp_path / "cell")[0]), expected, atol=0.02)


# ---- bad input


def refused(match, cell, tmp_path, method="eora", options=None, calibration=None):
    with pytest.raises(PalimpsestError, match=match):
        recover(cell, tmp_path / "adapter", method=method, options=options or {}, calibration_folder=calibration)
    assert not (tmp_path / "adapter").exists()


def test_what_cannot_be_repaired_is_refused_with_what_would_be_right(
    cells, tmp_path, tiny_model_folder, tiny_calibration_folder
):
    rows = tiny_calibration_folder
    refused(
        r"rank 17 is larger than .*k_proj \(16 by 32\) can have. Write rank: 16 or less",
        cells / "rtn", tmp_path, options={"rank": 17}, calibration=rows,
    )  # fmt: skip
    refused(r"eora needs the inputs of each layer \(gram\): give it a calibration", cells / "rtn", tmp_path)
    refused(
        r"svd-llm-update is for low rank cells \(svd or svd-llm\); .* is quantized",
        cells / "rtn", tmp_path, "svd-llm-update", calibration=rows,
    )  # fmt: skip
    refused(r"loftq is for quantized cells \(.*nf4\); .* is sparse", cells / "magnitude", tmp_path, "loftq")
    refused(r"has no option 'ranks'", cells / "rtn", tmp_path, options={"ranks": 3}, calibration=rows)
    refused(r"inputs is 'own'; it is dense or compressed", cells / "rtn", tmp_path, options={"inputs": "own"})
    refused(r"rank is 0; it is a whole number of at least 1", cells / "rtn", tmp_path, options={"rank": 0})
    compress(tiny_model_folder, tmp_path / "dense", method="dense", level="full")
    refused(r"is dense: there is nothing to repair", tmp_path / "dense", tmp_path, calibration=rows)


def test_a_cell_made_from_another_checkpoint_is_refused(tmp_path, tiny_calibration_folder):
    make_model_folder(tmp_path / "models" / "a", seed=1)
    compress(tmp_path / "models" / "a", tmp_path / "cell", method="rtn", level="3")
    os.rename(tmp_path / "models" / "a", tmp_path / "old")
    make_model_folder(tmp_path / "models" / "a", seed=2)
    refused(
        "an artifact made from another checkpoint", tmp_path / "cell", tmp_path, calibration=tiny_calibration_folder
    )


def test_a_flipped_byte_in_a_replaced_cell_is_found(cells, tmp_path):
    recover(cells / "rtn", tmp_path / "adapter", method="loftq", options={"rank": 1, "iterations": 1})
    path = tmp_path / "adapter" / "cell" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(PalimpsestError, match=r"cell/weights.safetensors: .* changed or damaged"):
        palimpsest.load(tmp_path)


def test_layers_that_were_left_dense_are_left_alone(tmp_path, tiny_model_folder, tiny_calibration_folder):
    from palimpsest.compression.allocation.allocate import allocate

    allocate(tiny_model_folder, tmp_path / "allocation", method="only", level="3", options={"modules": ["down_proj"]})
    compress(tiny_model_folder, tmp_path / "cell", method="rtn", level="3", allocation_folder=tmp_path / "allocation")
    made = recover(
        tmp_path / "cell", tmp_path / "adapter", method="eora", options={}, calibration_folder=tiny_calibration_folder
    )
    assert sorted(made["layers"]) == [f"model.layers.{number}.mlp.down_proj" for number in (0, 1)]
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["target_modules"] == sorted(made["layers"])


def test_a_matrix_that_stays_dense_has_no_error():
    weight = torch.randn(4, 6)
    stats = Statistics.of(torch.randn(30, 6))
    assert METHODS["eora"].repair(weight, Dense(weight), stats, rank=2).correction.dense().abs().max() == 0


# ---- a real checkpoint

DATA = os.environ.get("PALIMPSEST_DATA")


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """Cells of a trained model, calibration rows of stories, and the ids of stories that are not among them."""
    if not DATA or not Path(DATA, "models/stories260K").is_dir() or not Path(DATA, "data/tinystories").is_dir():
        pytest.skip("PALIMPSEST_DATA has no models/stories260K and data/tinystories")
    folder, model = tmp_path_factory.mktemp("stories"), Path(DATA, "models/stories260K")
    for method, level in (("magnitude", "0.6"), ("rtn", "3"), ("svd", "k0.6")):
        compress(model, folder / method, method=method, level=level)
    lines = Path(DATA, "data/tinystories/tinystories.txt").read_text(encoding="utf-8").split("\n")
    told = [line for line in lines if len(line.split()) >= 24]
    (folder / "text.txt").write_text("\n".join(told[16:]), encoding="utf-8")
    draw(folder / "text.txt", model, folder / "calibration", samples=64, length=64)
    _, tokenizer = palimpsest.load(folder / "rtn")
    rows = [tokenizer(story)["input_ids"][:48] for story in told[:16]]
    return folder, torch.tensor([row for row in rows if len(row) == 48])


def loss(folder, ids):
    with torch.inference_mode():
        return palimpsest.load(folder)[0](input_ids=ids, labels=ids).loss.item()


def test_closed_forms_bring_a_real_model_nearer_to_stories_that_they_have_not_seen(stories, tmp_path):
    folder, ids = stories
    cases = {"rtn": ("eora", "lqer", "loftq"), "magnitude": ("eora",), "svd": ("eora", "svd-llm-update")}
    for cell, methods in cases.items():
        before = loss(folder / cell, ids)
        for method in methods:
            options = {} if method == "svd-llm-update" else {"rank": 8}
            recover(
                folder / cell, tmp_path / cell / method / "adapter", method=method, options=options,
                calibration_folder=folder / "calibration",
            )  # fmt: skip
            assert loss(tmp_path / cell / method, ids) < before - 0.3, (cell, method)
