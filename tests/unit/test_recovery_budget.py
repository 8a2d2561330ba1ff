"""A budget of parameters makes each method as large as it can be."""

from __future__ import annotations

import pytest
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.adapters import adapter_state
from palimpsest.recovery.budget import costs
from palimpsest.recovery.configure import adapted, complete, configure

METHODS = ("lora", "dora", "distill", "prompt", "p-tuning", "prefix")


@pytest.fixture
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder)


def parameters(method, options, model):
    return sum(tensor.numel() for tensor in adapter_state(adapted(method, options, model)).values())


@pytest.mark.parametrize("budget", [500, 900, 2000])
@pytest.mark.parametrize("method", METHODS)
def test_budget_is_used_up_to_the_last_rank_or_token_that_fits(model, method, budget):
    fixed, each = costs(method, model, complete(method, {"budget": budget}, model))
    used = parameters(method, {"budget": budget}, model)
    assert used <= budget < used + each
    assert (used - fixed) % each == 0


@pytest.mark.parametrize("method", METHODS)
def test_budget_just_under_the_smallest_is_refused_and_the_smallest_is_taken(tiny_model_folder, method):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    smallest = sum(costs(method, model, complete(method, {}, model)))
    with pytest.raises(
        PalimpsestError, match=f"budget of {smallest - 1} .*under its smallest.*Write budget: {smallest} "
    ):
        configure(method, {"budget": smallest - 1}, model)
    assert parameters(method, {"budget": smallest}, model) == smallest


def test_costs_count_linear_layers_that_are_stored_transposed():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=64, n_embd=32, n_layer=2, n_head=4))
    options = {"modules": ["c_attn"], "rank": 3}
    assert parameters("lora", options, model) == 2 * 3 * (32 + 96)
    for method in ("prompt", "prefix"):
        fresh = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=64, n_embd=32, n_layer=2, n_head=4))
        assert parameters(method, {"tokens": 5}, fresh) == 5 * costs(method, fresh, complete(method, {}, fresh))[1]


def test_budget_keeps_the_scale_of_low_rank_updates(model):
    assert configure("lora", {"budget": 2000}, model).lora_alpha == 2 * configure("lora", {"budget": 2000}, model).r
    assert configure("lora", {"budget": 2000, "alpha": 3}, model).lora_alpha == 3


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora", {"budget": 2000, "rank": 2}, "give either rank or budget"),
        ("prompt", {"budget": 2000, "tokens": 2}, "give either tokens or budget"),
        ("lora", {"budget": "2k"}, "budget '2k' is not a whole number"),
        ("prompt", {"budget": 32 * 255}, r"255 tokens \(budget: 8160\) leave no room.*Write budget: 2048 or so"),
        ("lora", {"budget": 10**5, "modules": ["v_proj"]}, r"rank \d+ \(budget: 100000\).*Write budget: 1536 or less"),
    ],
)
def test_budget_that_does_not_fit_the_model_is_named(model, method, options, message):
    with pytest.raises(PalimpsestError, match=message):
        configure(method, options, model)
