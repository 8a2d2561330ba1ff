"""Each allocation against an independent computation, and cells that are made with it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import palimpsest
from palimpsest import compress_weight
from palimpsest.calibration import read_rows
from palimpsest.compression.allocation import RECORD, curves, read_allocation, registry
from palimpsest.compression.allocation.allocate import allocate
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.losses import Losses
from palimpsest.compression.allocation.memory import Memory
from palimpsest.compression.allocation.methods.bayesian import minimize, projected
from palimpsest.compression.allocation.modules import ROLES, known, named, role_of
from palimpsest.compression.artifact import read_record
from palimpsest.compression.cell import compress
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.families import FAMILIES
from palimpsest.levels import parse, rank_for
from palimpsest.measurement.sizes import sizes
from palimpsest.provenance import (
    DamagedArtifact,
    PalimpsestError,
    atomic_folder,
    folder_digest,
    read_json,
    verify_folder,
)

MODULES = FAMILIES["llama"].layers
NAMES = [f"model.layers.{number}.{module}" for number in (0, 1) for module in MODULES]


@pytest.fixture(scope="module")
def rows(tiny_calibration_folder):
    return read_rows(tiny_calibration_folder)[:2]


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return palimpsest.load(tiny_model_folder)[0]


@pytest.fixture(scope="module")
def inputs(model, rows):
    """The inputs (tokens, in) of every matrix in the dense model, padding left out."""
    found, valid = {}, torch.arange(rows[0].shape[1]) < rows[1][:, None]
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: found.update({name: x[0][valid]}))
        for name in NAMES
    ]
    with torch.inference_mode():
        model(input_ids=rows[0])
    for hook in hooks:
        hook.remove()
    return found


@pytest.fixture
def make(tmp_path, tiny_model_folder, tiny_calibration_folder):
    """Make an allocation of the tiny model; (its levels with "dense", its folder, its record)."""

    def made(method, level, model=tiny_model_folder, **arguments):
        folder = tmp_path / f"{method}-{len(list(tmp_path.iterdir()))}"
        calibration = tiny_calibration_folder if registry.declaration(method).calibrated else None
        allocate(model, folder, method=method, level=level, calibration_folder=calibration, **arguments)
        record = read_json(folder / RECORD)
        return record["levels"], folder, record

    return made


def plain_loss(model, rows, instead):
    """Mean loss of the next token, row by row without padding, with weights `instead`."""
    kept = {name: model.get_submodule(name).weight.data for name in instead}
    for name, weight in instead.items():
        model.get_submodule(name).weight.data = weight
    losses = []
    with torch.inference_mode():
        for row, length in zip(*rows, strict=True):
            row = row[:length]
            logits = model(input_ids=row[None]).logits[0, :-1]
            losses.append(torch.nn.functional.cross_entropy(logits, row[1:], reduction="none"))
    for name, weight in kept.items():
        model.get_submodule(name).weight.data = weight
    return torch.cat(losses).double().mean().item()


def compressed(model, inputs, name, method, level):
    return compress_weight(model.get_submodule(name).weight.detach(), inputs[name], method, level).dense()


# What an allocation is


def test_declarations_are_read_without_torch_and_say_what_the_functions_take():
    code = "import sys; from palimpsest.compression.allocation import registry; assert 'owl' in registry.declared()\n"
    subprocess.run([sys.executable, "-c", code + "assert not {'torch', 'numpy'} & set(sys.modules)"], check=True)
    for name, declaration in registry.declared().items():
        parameters = inspect.signature(registry.function(name)).parameters
        defaults = {key: one.default for key, one in parameters.items() if one.kind == one.KEYWORD_ONLY}
        assert declaration.seeded == ("seed" in defaults)
        defaults.pop("seed", None)
        assert {key: tuple(v) if isinstance(v, list) else v for key, v in declaration.options.items()} == defaults
        assert declaration.summary and declaration.formula and declaration.cost
    found = registry.declared()
    assert {name for name in found if found[name].deterministic} == {"uniform", "only"}
    assert {name for name in found if found[name].budget} == {"owl", "sensitivity", "error", "bayesian", "redundant"}


def test_one_function_is_a_new_allocation(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from palimpsest.compression.allocation.registry import allocation\n\n\n"
        '@allocation("mine", budget=True)\n'
        "def mine(case, *, strength: float = 0.5, seed: int = 0):\n"
        '    """Share out my way."""\n'
    )
    monkeypatch.setattr(registry, "ALLOCATIONS", tmp_path)
    mine = registry.declared.__wrapped__()["mine"]
    assert mine.options == {"strength": 0.5} and mine.seeded and mine.budget and mine.summary == "Share out my way."


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("owll", {}, "no allocation 'owll'. Did you mean 'owl'"),
        ("owl", {"outlier": 0.0}, "outlier is 0.0; it is more than 0"),
        ("owl", {"m": 5}, "no option 'm'.*outlier=5.0, spread=0.08"),
        ("only", {}, "give modules or blocks"),
        ("only", {"blocks": [-1]}, "block numbers, from 0"),
        ("only", {"modules": ["fc1"]}, "no module 'fc1'. Its modules: self_attn.q_proj"),
        ("only", {"blocks": [1, 2]}, "blocks 0 to 1, and no block 2"),
        ("sensitivity", {"shares": [0.5, 1.5]}, "shares between 0 and 1"),
        ("laser", {"levels": ["0.5", "k2"]}, "a list of levels"),
        ("laser", {"levels": ["k0.5"]}, "k0.5 is not of the same kind as 0.5"),
        ("laser", {"budget": "whole"}, "levels that are harder than 0.5: give them"),
        ("laser", {"budget": "whole", "levels": ["0.6"], "seed": 1}, "no option 'seed'"),
        ("only", {"blocks": [0], "budget": "all"}, "budget is 'all'; it is chosen or whole"),
        ("redundant", {"lowest": 1.5}, "lowest is 1.5; it is from 0 to 1"),
        ("error", {"weighting": "fisher"}, "gradient, energy or none"),
    ],
)
def test_mistakes_are_refused_with_what_would_be_right(make, method, options, message):
    with pytest.raises(PalimpsestError, match=message):
        make(method, "0.5", options=options)


def test_a_level_or_method_that_does_not_fit_is_refused(make, tmp_path, tiny_model_folder):
    for method, level, measured, message in [
        ("owl", "nf4", None, "uniform, or only or laser with budget: chosen"),
        ("error", "int8", None, "uniform, or only or laser with budget: chosen"),
        ("sensitivity", "0.5", "rtn", "rtn has no level '0.5'"),
        ("error", "0.5", "wnda", "Did you mean 'wanda'"),
    ]:
        with pytest.raises(PalimpsestError, match=message):
            make(method, level, measured_with=measured)
    with pytest.raises(PalimpsestError, match="give it a calibration"):
        allocate(tiny_model_folder, tmp_path / "x", method="owl", level="0.5")


# Each allocation


@pytest.mark.parametrize("level", ["0.5", "k0.6"])
def test_only_compresses_what_it_names(make, level):
    levels, _, record = make("only", level, options={"modules": ["q_proj", "mlp.down_proj"], "blocks": [1]})
    assert {name for name, text in levels.items() if text == level} == {
        "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj",
    }  # fmt: skip
    assert set(levels.values()) == {level, "dense"} and levels.keys() == set(NAMES) and record["calibration"] is None
    levels, _, _ = make("only", level, options={"blocks": [0]})
    assert {name for name, text in levels.items() if text == level} == set(NAMES[:7])


def costs_of(levels, budget):
    """name -> (cost, what the next step of its ladder costs more) of the matrices that are not dense."""
    found = {}
    for name, text in levels.items():
        if text != "dense":
            ladder = budget.ladders[name]
            step = next(step for step in range(len(ladder.costs)) if ladder.level(step) == parse(text))
            found[name] = ladder.costs[step], ladder.costs[step + 1] - ladder.costs[step]
    return found


@pytest.mark.parametrize("level", ["k0.7", "0.3", "3:4", "r0.5"])
@pytest.mark.parametrize("chosen", [{"modules": ["gate_proj", "up_proj", "down_proj"]}, {"blocks": [1]}])
def test_only_can_save_on_some_matrices_what_uniform_saves_on_all(make, tiny_model_folder, level, chosen):
    levels, _, _ = make("only", level, options=chosen | {"budget": "whole"})
    budget = Case(Checkpoint(tiny_model_folder), parse(level)).budget
    costs = costs_of(levels, budget)
    assert set(costs) == {name for name in NAMES if (".1." if "blocks" in chosen else ".mlp.") in name}
    cost = sum(costs.get(name, (budget.top(name),))[0] for name in NAMES)
    rises = {name: rise for name, (_, rise) in costs.items()}
    assert 0 <= budget.asked - cost < min(rises.values()), "not one rank, weight a row or N more fits"
    shares = [cost / budget.top(name) for name, (cost, _) in costs.items()]
    # The same share of each, but for the steps of the ladders.
    assert max(shares) - min(shares) <= 2 * max(rise / budget.top(name) for name, rise in rises.items())


def test_what_some_matrices_cannot_save_is_an_error_that_says_what_they_can(make):
    options = {"modules": ["q_proj", "k_proj"], "budget": "whole"}
    for level, message in [
        ("k0.4", r"cost 0\.8\d+ a weight, and 0\.4 is asked\. The lowest level that can be met so is (k0\.\d+)\."),
        ("0.7", r"0\.3 is asked\. The lowest level that can be met so is (0\.\d+)\."),
        ("1:8", r"is (7:8)\."),
    ]:
        with pytest.raises(PalimpsestError, match=message) as error:
            make("only", level, options=options)
        lowest = re.search(message, str(error.value))[1]
        levels, _, _ = make("only", lowest, options=options)
        assert {name.rpartition(".")[2] for name, text in levels.items() if text != "dense"} == {"q_proj", "k_proj"}
    with pytest.raises(PalimpsestError, match=r"r0\.01 cannot be shared out.*The lowest level that can be met so is r"):
        make("redundant", "r0.01")


@pytest.mark.parametrize(("level", "lowest"), [("k0.6", 0.25), ("k0.9", 0.1), ("0.3", 0.4)])
def test_the_most_redundant_matrices_go_first_and_the_rest_stays_dense(
    make, model, inputs, tiny_model_folder, level, lowest
):
    levels, _, record = make("redundant", level, options={"lowest": lowest})
    redundancy = {}
    for name in NAMES:
        weight, x = model.get_submodule(name).weight.detach().double(), inputs[name].double()
        if level.startswith("k"):  # the share of the answers' energy that so many singular values of them hold
            energies = torch.linalg.svdvals(x @ weight.T).square()
            kept = int(lowest * weight.numel() / sum(weight.shape))
            redundancy[name] = (energies[:kept].sum() / energies.sum()).item()
        else:
            squares = weight.square() * x.square().sum(0)
            kept = int(lowest * weight.shape[1])
            redundancy[name] = (squares.topk(kept, dim=1).values.sum() / squares.sum()).item()
    assert record["measured"]["redundancy"] == pytest.approx(redundancy, abs=2e-4)
    order = sorted(NAMES, key=lambda name: -redundancy[name])
    compressed = [name for name in order if levels[name] != "dense"]
    assert compressed == order[: len(compressed)] and 1 < len(compressed) < len(NAMES)
    budget = Case(Checkpoint(tiny_model_folder), parse(level)).budget
    costs = costs_of(levels, budget)
    for name in compressed:
        cost, rise = costs[name]
        hardest = lowest * budget.top(name)
        # What is left over after the last is less than a step of its ladder, and may raise another by a step.
        assert cost <= hardest + rise if name != compressed[-1] else cost > hardest - rise
    cost = sum(costs.get(name, (budget.top(name),))[0] for name in NAMES)
    assert 0 <= budget.asked - cost < min(rise for _, rise in costs.values())


@pytest.mark.parametrize("level", ["k0.8", "k0.6"])
def test_laser_goes_on_with_the_matrix_that_costs_least_loss_for_what_it_saves(make, model, inputs, rows, level):
    levels, _, record = make("laser", level, options={"levels": ["k0.2"], "budget": "whole"})
    dense, *path = record["measured"]["losses"]
    compressed_ = {name: compressed(model, inputs, name, "svd-llm", "k0.2") for name in NAMES}
    assert dense["loss"] == pytest.approx(plain_loss(model, rows, {}), abs=1e-5)

    def saved(name):
        weight = model.get_submodule(name).weight
        return weight.numel() - int(0.2 * weight.numel() / sum(weight.shape)) * sum(weight.shape)

    alone = {name: (plain_loss(model, rows, {name: compressed_[name]}) - dense["loss"]) / saved(name) for name in NAMES}
    assert path[0]["matrix"] == min(alone, key=alone.get), "the first is LASER's own, by what it saves"
    for number, step in enumerate(path, 1):
        together = {one["matrix"]: compressed_[one["matrix"]] for one in path[:number]}
        assert step["loss"] == pytest.approx(plain_loss(model, rows, together), abs=1e-5)
    names = [step["matrix"] for step in path]
    assert {name for name, text in levels.items() if text != "dense"} == set(names) and len(names) == len(set(names))
    cost, weights = 0, {name: model.get_submodule(name).weight for name in NAMES}
    for name, weight in weights.items():
        rank = None if levels[name] == "dense" else rank_for(*weight.shape, parse(levels[name]))
        cost += weight.numel() if rank is None else rank * sum(weight.shape)
    assert 0 <= float(level[1:]) * sum(map(torch.numel, weights.values())) - cost < 32 + 32, "to one rank"


@pytest.mark.parametrize(("outlier", "spread", "asked"), [(5.0, 0.08, 0.5), (2.0, 0.2, 0.7)])
def test_owl_is_the_papers_formula(make, tmp_path, make_tiny_model, rows, outlier, spread, asked):
    folder = make_tiny_model(tmp_path / "deep", num_hidden_layers=4, intermediate_size=200, hidden_size=64)
    model, shares = palimpsest.load(folder)[0], []
    with torch.no_grad():  # random weights have no outliers of their own
        for number in (1, 2, 3):
            model.model.layers[number].mlp.up_proj.weight[: 10 * number] *= 6
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        palimpsest.load(folder)[1].save_pretrained(temporary)
    valid = torch.arange(rows[0].shape[1]) < rows[1][:, None]
    for block in model.model.layers:
        scores = []
        hooks = [
            block.get_submodule(name).register_forward_pre_hook(
                lambda layer, x, scores=scores: scores.append(layer.weight.abs() * x[0][valid].norm(dim=0))
            )
            for name in MODULES
        ]
        with torch.inference_mode():
            model(input_ids=rows[0])
        for hook in hooks:
            hook.remove()
        flat = torch.cat([score.flatten() for score in scores]).double()
        shares.append((flat > outlier * flat.mean()).double().mean().item())
    d = np.array(shares)
    kept = 2 * spread * (d - d.min()) / (d.max() - d.min())
    kept += 1 - asked - kept.mean()
    levels, _, record = make("owl", str(asked), folder, options={"outlier": outlier, "spread": spread})
    assert list(record["measured"]["outliers"].values()) == pytest.approx(shares, abs=1e-12) and d.max() > d.min()
    for name, text in levels.items():
        matrix = model.get_submodule(name).weight
        # A weight a row up or down: down to the ladder, and up again for what is left over.
        assert 1 - float(text) == pytest.approx(kept[int(name.split(".")[2])], abs=1.01 / matrix.shape[1])


def test_owl_leaves_all_blocks_the_same_where_none_stands_out(make):
    levels, _, _ = make("owl", "0.5", options={"outlier": 1000.0})
    assert set(levels.values()) == {"0.5"}


@pytest.mark.parametrize("level", ["0.5", "2:4"])
def test_the_error_curve_of_pruning_is_what_wanda_loses(model, inputs, rows, tiny_model_folder, level):
    case = Case(Checkpoint(tiny_model_folder), parse(level), rows=rows[0], lengths=rows[1])
    for matrix, weight, statistics in case.layers(curves.needs_of(case)):
        errors, energy = curves.curve(case, matrix, weight, statistics)
        ladder, x = case.budget.ladders[matrix.name], inputs[matrix.name].double()
        scale = x.square().mean(0)
        assert len(errors) == len(ladder.costs) and errors[-1] == 0
        assert energy == pytest.approx((weight.double().square() * scale).sum().item(), rel=1e-5)
        for step in range(0, len(errors) - 1, max(1, len(errors) // 5)):
            lost = weight - compressed(model, inputs, matrix.name, "wanda", ladder.level(step).text)
            assert errors[step] == pytest.approx((lost.double().square() * scale).sum().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("level", "measured_with"), [("k0.6", None), ("k0.6", "svd"), ("3", None), ("0.5", "magnitude")]
)
def test_the_error_curve_is_what_the_answers_lose(model, inputs, rows, tiny_model_folder, level, measured_with):
    case = Case(Checkpoint(tiny_model_folder), parse(level), rows=rows[0], lengths=rows[1], measured_with=measured_with)
    for matrix, weight, statistics in case.layers(curves.needs_of(case)):
        errors, energy = curves.curve(case, matrix, weight, statistics)
        ladder, x = case.budget.ladders[matrix.name], inputs[matrix.name].double()
        top = len(ladder.costs) - 1
        assert len(errors) == top + 1 and errors[-1] == (0 if level != "3" else pytest.approx(errors[-1]))
        assert energy == pytest.approx((x @ weight.double().T).square().sum().item() / len(x), rel=1e-4)
        points = {round(step) for step in np.linspace(0, top, min(curves.POINTS, top + 1))} - {top}
        for step in sorted(points)[::4]:
            mine = compressed(model, inputs, matrix.name, case.measured_with, ladder.level(step).text)
            lost = (x @ (weight - mine).double().T).square().sum().item() / len(x)
            assert errors[step] == pytest.approx(lost, rel=1e-3, abs=1e-5 * energy)


def test_output_gradients_are_those_of_the_summed_loss(model, rows, tiny_model_folder):
    losses = Losses(Checkpoint(tiny_model_folder), *rows)
    found, expected = losses.output_gradients(NAMES), dict.fromkeys(NAMES, 0.0)
    for row, length in zip(*rows, strict=True):
        outputs = {}
        hooks = [
            model.get_submodule(name).register_forward_hook(
                lambda _, __, output, name=name, outputs=outputs: outputs.update({name: output})
            )
            for name in NAMES
        ]
        logits = model(input_ids=row[None, :length]).logits[0, :-1]
        for hook in hooks:
            hook.remove()
        loss = torch.nn.functional.cross_entropy(logits, row[1:length], reduction="sum")
        for name, gradient in zip(outputs, torch.autograd.grad(loss, list(outputs.values())), strict=True):
            expected[name] += gradient.double().square().mean(-1).sum().item() / int(rows[1].sum())
    assert found == pytest.approx(expected, rel=1e-4)
    assert losses.loss({}) == pytest.approx(plain_loss(model, rows, {}), abs=1e-6), "no hook stays"


@pytest.mark.parametrize("weighting", ["gradient", "energy", "none"])
def test_error_allocates_no_worse_than_uniform_by_its_own_measure(make, rows, tiny_model_folder, weighting):
    _, _, record = make("error", "3", options={"weighting": weighting})
    weights, errors = record["measured"]["weights"], record["measured"]["errors"]
    case = Case(Checkpoint(tiny_model_folder), parse("3"), rows=rows[0], lengths=rows[1])
    uniform = {
        matrix.name: curves.curve(case, matrix, weight, statistics)[0][1]
        for matrix, weight, statistics in case.layers({"gram"})
    }
    mine = sum(weights[name] * errors[name] for name in NAMES)
    assert 0 < mine <= sum(weights[name] * uniform[name] for name in NAMES) * (1 + 1e-6)


def test_laser_chooses_what_trying_all_would_choose(make, model, inputs, rows):
    levels, _, record = make("laser", "k0.3", options={"levels": ["k0.6"]})
    losses = {
        (name, level): plain_loss(model, rows, {name: compressed(model, inputs, name, "svd-llm", level)})
        for name in NAMES
        for level in ("k0.3", "k0.6")
    }
    best = min(losses, key=losses.get)
    assert {name: text for name, text in levels.items() if text != "dense"} == dict([best])
    for (name, level), loss in losses.items():
        assert record["measured"]["losses"][name][level] == pytest.approx(loss, abs=1e-5)


def test_sensitivity_measures_each_matrix_alone(make, model, inputs, rows):
    _, _, record = make("sensitivity", "0.5", options={"shares": [0.25, 0.5, 0.75]})
    losses = record["measured"]["losses"]
    assert losses.pop("dense") == pytest.approx(plain_loss(model, rows, {}), abs=1e-5)
    assert losses.keys() == set(NAMES) and all(one.keys() == {"0.75", "0.5", "0.25"} for one in losses.values())
    for name in NAMES[::3]:
        for level, loss in losses[name].items():
            weights = {name: compressed(model, inputs, name, "wanda", level)}
            assert loss == pytest.approx(plain_loss(model, rows, weights), abs=1e-5)


def test_the_divergence_is_that_of_the_papers_definitions(model, inputs, rows, tiny_model_folder):
    losses, name = Losses(Checkpoint(tiny_model_folder), *rows), NAMES[4]
    weight = model.get_submodule(name).weight.detach()
    found = compress_weight(weight, inputs[name], "wanda", "0.5")
    kl, squared, tokens = 0.0, 0.0, 0
    for row, length in zip(*rows, strict=True):
        with torch.inference_mode():
            dense = model(input_ids=row[None, :length]).logits[0].double()
            model.get_submodule(name).weight.data = found.dense()
            mine = model(input_ids=row[None, :length]).logits[0].double()
            model.get_submodule(name).weight.data = weight
        p, q = dense.softmax(-1), mine.softmax(-1)
        kl += (p * (p / q).log()).sum().item()
        squared += (dense - mine).square().mean(-1).sum().item()
        tokens += int(length)
    assert losses.divergence({name: found}) == pytest.approx(kl / tokens, rel=1e-3)
    assert losses.divergence({name: found}, "squared") == pytest.approx(squared / tokens, rel=1e-3)
    assert losses.divergence({}) == 0


def test_padding_counts_nowhere(tiny_model_folder, rows):
    tokens = rows[0].clone()
    tokens[torch.arange(tokens.shape[1]) >= rows[1][:, None]] = 7
    ours, other = (Losses(Checkpoint(tiny_model_folder), one, rows[1]) for one in (rows[0], tokens))
    assert ours.loss({}) == pytest.approx(other.loss({}), abs=1e-6)
    assert ours.output_gradients(NAMES[:3]) == pytest.approx(other.output_gradients(NAMES[:3]), rel=1e-4)


def test_bayesian_search_beats_random_search_and_is_the_same_twice():
    weights, asked, best = np.array([2.0, 1.0, 3.0, 3.0, 3.0]), 7.4, np.array([0.3, 0.5, 0.7, 0.6, 0.8])

    def objective(point):
        return 0.5 + float(((point - best) ** 2 * [4, 1, 2, 1, 3]).sum())

    def project(points):
        return projected(points, weights, asked, 0.2)

    tried, found = minimize(objective, project, list("abcde"), 20, seed=0)
    again, _ = minimize(objective, project, list("abcde"), 8, seed=0)
    assert np.array_equal(np.array(tried[:8]), np.array(again))
    others = [min(map(objective, project(np.random.default_rng(seed).random((20, 5))))) for seed in range(200)]
    assert min(found) < np.quantile(others, 0.05), (min(found), np.quantile(others, [0, 0.05, 0.5]))
    assert np.array(tried) @ weights == pytest.approx(np.full(20, asked))


def test_a_projected_point_costs_what_is_asked_within_its_bounds():
    points = np.random.default_rng(0).random((50, 4))
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    found = projected(points, weights, 5.0, 0.2)
    assert found @ weights == pytest.approx(np.full(50, 5.0)) and found.min() >= 0.2 and found.max() <= 1
    inside = (found > 0.2 + 1e-6) & (found < 1 - 1e-6)
    shifts = np.where(inside, found - points, np.nan)
    assert np.nanmax(shifts, 1) == pytest.approx(np.nanmin(shifts, 1), abs=1e-9), "all are shifted by the same amount"


def test_bayesian_keeps_values_dense_and_one_share_for_each_kind_of_module(make):
    levels, folder, record = make("bayesian", "0.5", options={"trials": 8}, seed=3)
    trials = record["measured"]["trials"]
    assert len(trials) == 8 and set(trials[0]["shares"]) == {"qk", "o", "gate", "up", "down"}
    assert len({round(share, 6) for share in trials[0]["shares"].values()}) == 1, "the first gives all the same"
    assert all(0.2 <= share <= 1 for trial in trials for share in trial["shares"].values())
    best = min(trials, key=lambda trial: trial["divergence"])
    assert best["divergence"] <= trials[0]["divergence"]
    for name, text in levels.items():
        role = role_of(name.split(".", 3)[3])
        assert text == "dense" if role == "v" else 1 - float(text) == pytest.approx(best["shares"][role], abs=2 / 32)
    assert folder_digest(make("bayesian", "0.5", options={"trials": 8}, seed=3)[1]) == folder_digest(folder)
    assert make("bayesian", "0.5", options={"trials": 8}, seed=4)[2]["measured"]["trials"][1] != trials[1]


# Searches go on where they were


@pytest.mark.parametrize("method", ["sensitivity", "laser", "laser, several", "bayesian", "error", "redundant"])
def test_a_killed_search_computes_nothing_twice_and_ends_with_the_same_bytes(
    tmp_path, tiny_model_folder, tiny_calibration_folder, monkeypatch, method
):
    computed, real = [], Memory.once

    def once(self, key, compute):
        def counted():
            if len(computed) == 5 and not dying.called:
                dying.called = True
                raise KeyboardInterrupt
            computed.append(key)
            return compute()

        return real(self, key, counted)

    class dying:
        called = False

    def run(folder, state):
        options = {"bayesian": {"trials": 7}, "laser, several": {"levels": ["1:4"], "budget": "whole"}}
        allocate(
            tiny_model_folder, folder, method=method.partition(",")[0], level="2:4", options=options.get(method, {}),
            state_folder=state, calibration_folder=tiny_calibration_folder,
        )  # fmt: skip

    monkeypatch.setattr(Memory, "once", once)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", tmp_path / "state")
    [file] = (tmp_path / "state").iterdir()
    file.write_text(file.read_text() + '\n{"cut off')
    run(tmp_path / "killed", tmp_path / "state")
    assert len(computed) == len(set(computed)) and not list((tmp_path / "state").iterdir())
    monkeypatch.undo()
    run(tmp_path / "undisturbed", None)
    assert folder_digest(tmp_path / "killed") == folder_digest(tmp_path / "undisturbed")


# Cells


CELLS = [
    ("wanda", "0.4", "owl", {}),
    ("magnitude", "2:4", "error", {}),
    ("svd-llm", "k0.6", "sensitivity", {"shares": [0.2, 0.5, 0.8]}),
    ("rtn", "3g16", "sensitivity", {}),
    ("gptq", "3", "owl", {}),
    ("svd", "k0.5", "bayesian", {"trials": 6, "lowest": 0.1}),
    ("sparsegpt", "0.5+4", "error", {}),
    ("svd", "k0.7", "only", {"modules": ["up_proj", "down_proj"], "budget": "whole"}),
    ("rtn", "4", "redundant", {}),
    ("svd-llm", "k0.6", "laser", {"levels": ["k0.3"], "budget": "whole"}),
]


@pytest.mark.parametrize(("method", "level", "allocation", "options"), CELLS)
def test_a_cell_has_the_allocated_levels_and_achieves_what_is_asked(
    make, tmp_path, tiny_model_folder, tiny_calibration_folder, method, level, allocation, options
):
    levels, folder, record = make(allocation, level, options=options, name="mine")
    calibration = tiny_calibration_folder if palimpsest.methods()[method]["needs"] else None
    compress(
        tiny_model_folder, tmp_path / "cell", method=method, level=level, calibration_folder=calibration,
        allocation_folder=folder,
    )  # fmt: skip
    cell = read_record(tmp_path / "cell")
    assert {name: entry["level"] for name, entry in cell["layers"].items()} == levels
    said = cell["allocation"]
    assert said["name"] == "mine" and said["method"] == allocation and said["digest"] == folder_digest(folder)
    digest = folder_digest(tiny_calibration_folder) if registry.declaration(allocation).calibrated else None
    assert said["options"] == record["options"] and (said["calibration"] or {}).get("digest") == digest
    assert len(set(levels.values())) > 1
    weights = sum(np.prod(entry["shape"]) for entry in cell["layers"].values())
    asked = parse(level)
    pruning = getattr(asked, "pruning", asked)
    achieved, wanted, step = {
        "sparsity": lambda: (cell["achieved"]["sparsity"], pruning.fraction, -48),
        "n:m": lambda: (cell["achieved"]["sparsity"], pruning.fraction, -48 * 32 / 4),
        "bits": lambda: (cell["achieved"]["bits"], asked.bits, 48 * 32),
        "kept share": lambda: (cell["achieved"]["kept_share"], asked.share, 48 + 32),
    }[pruning.syntax]()
    # Never more is kept than asked, and not a step of the largest matrix less.
    kept = (achieved - wanted) * np.sign(step)
    assert -abs(step) / weights - 1e-9 <= kept <= 1e-9


def test_a_layer_left_dense_is_not_stored_and_counts_as_what_it_is(make, tmp_path, tiny_model_folder):
    _, folder, _ = make("only", "4", options={"modules": ["q_proj"]})
    compress(tiny_model_folder, tmp_path / "cell", method="rtn", level="4", allocation_folder=folder)
    record, checkpoint = read_record(tmp_path / "cell"), Checkpoint(tiny_model_folder)
    chosen = [name for name in NAMES if name.endswith("q_proj")]
    weights = {name: checkpoint.size(checkpoint.tensor_name(name))[0] for name in NAMES}
    dense = sum(4 * weights[name] for name in NAMES if name not in chosen)
    payload = sum(record["layers"][name]["nbytes"] for name in chosen)
    measured = {metric: value for metric, value, _ in sizes(tmp_path / "cell", None)}
    assert measured["bytes_artifact"] == payload + dense
    assert measured["bits_per_weight"] == pytest.approx(8 * (payload + dense) / sum(weights.values()))
    whole = sum(checkpoint.size(name)[1] for name in checkpoint.names)
    assert measured["bytes_total"] == whole - sum(4 * weights[name] for name in chosen) + payload
    model, _ = palimpsest.load(tmp_path / "cell")
    dense_model, _ = palimpsest.load(tiny_model_folder)
    for name in NAMES:
        same = torch.equal(model.get_submodule(name).weight, dense_model.get_submodule(name).weight)
        assert same == (name not in chosen)
    bits = (4 * sum(weights[name] for name in chosen) + 8 * dense) / sum(weights.values())
    assert record["achieved"]["bits"] == pytest.approx(bits)


def test_an_allocation_made_for_something_else_is_refused(make, tmp_path, make_tiny_model, tiny_model_folder):
    _, folder, _ = make("only", "0.5", options={"blocks": [0]})
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(PalimpsestError, match="made for another checkpoint"):
        compress(other, tmp_path / "cell", method="magnitude", level="0.5", allocation_folder=folder)
    with pytest.raises(PalimpsestError, match=r"an allocation of level 0\.5, not of 0\.6"):
        compress(tiny_model_folder, tmp_path / "cell", method="magnitude", level="0.6", allocation_folder=folder)
    with pytest.raises(PalimpsestError, match="not an allocation"):
        read_allocation(tiny_model_folder, verify_folder(tiny_model_folder))
    (folder / RECORD).write_text((folder / RECORD).read_text().replace("dense", "0.5", 1))
    with pytest.raises(DamagedArtifact, match=RECORD):
        compress(tiny_model_folder, tmp_path / "cell", method="magnitude", level="0.5", allocation_folder=folder)
    assert not (tmp_path / "cell").exists()


# Architectures


def test_every_module_of_every_family_has_a_role_and_a_name():
    for family in FAMILIES.values():
        roles = [role_of(layer) for layer in family.layers]
        assert {"o", "up", "down"} <= {role.replace("gate", "up") for role in roles}
        assert ("qkv" in roles) != ("qk" in roles and "v" in roles)
        for layer in family.layers:
            assert named(layer, family.layers) == (layer,)
    assert set(map(role_of, known())) == set(ROLES)
    assert named("c_proj", FAMILIES["gpt2"].layers) == ("attn.c_proj", "mlp.c_proj")
    assert named("output.dense", FAMILIES["bert"].layers) == ("output.dense",)
    assert named("proj", MODULES) == ()


@pytest.mark.parametrize("method", ["owl", "error", "sensitivity", "laser", "bayesian", "redundant"])
def test_transposed_weights_and_fused_projections_are_allocated_too(
    tmp_path, tiny_calibration_folder, tiny_tokenizer, method
):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tiny_tokenizer), n_positions=32, n_embd=16, n_layer=2, n_head=2)
    with atomic_folder(tmp_path / "gpt2") as folder:
        GPT2LMHeadModel(config).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
    options = {"trials": 6} if method == "bayesian" else {}
    allocate(
        tmp_path / "gpt2", tmp_path / "made", method=method, level="0.5", options=options,
        calibration_folder=tiny_calibration_folder,
    )  # fmt: skip
    compress(tmp_path / "gpt2", tmp_path / "cell", method="magnitude", level="0.5", allocation_folder=tmp_path / "made")
    achieved = read_record(tmp_path / "cell")["achieved"]["sparsity"]
    assert achieved == pytest.approx(0.5, abs=0.01) if method != "laser" else 0 < achieved < 0.2


def test_an_encoder_without_a_head_is_allocated_by_its_last_states(tmp_path, tiny_calibration_folder, tiny_tokenizer):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny_tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    with atomic_folder(tmp_path / "bert") as folder:
        BertModel(config).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)

    def made(method, **options):
        allocate(
            tmp_path / "bert", tmp_path / method, method=method, level="k0.5", options=options,
            calibration_folder=tiny_calibration_folder,
        )  # fmt: skip

    for method in ("owl", "redundant", "error", "sensitivity", "laser"):
        made(method)
    made("bayesian", divergence="squared", trials=3)
    with pytest.raises(PalimpsestError, match=r"BertModel has no head.*`divergence: squared`"):
        made("bayesian", trials=3)
