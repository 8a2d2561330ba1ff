"""From a study's recovery options to a peft model, checked against the model it is meant for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    PromptTuningInit,
    TaskType,
    get_peft_model,
)
from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values
from transformers.pytorch_utils import Conv1D

from palimpsest.checks.problems import did_you_mean, nearest
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import registry
from palimpsest.recovery.budget import costs, size_option, with_size
from palimpsest.recovery.targets import matrices


def adapted(method: str, options: Mapping[str, Any], model: torch.nn.Module, seed: int = 0) -> PeftModel:
    """`model`, frozen, with a new adapter of `method` beside its weights; `seed` draws where it starts."""
    configuration = configure(method, options, model)
    torch.manual_seed(seed)
    # A prefix starts as the keys and values of some words (Li & Liang, arXiv:2101.00190): noise is far from any.
    words = _keys_and_values(model, configuration.num_virtual_tokens) if method == "prefix" else None
    adapter = get_peft_model(model, configuration)
    if words is not None:
        initialize_kv_prefix_from_past_key_values(adapter, past_key_values=words)
    if method == "dora":
        _direct_empty_rows(adapter)
    return adapter


def configure(method: str, options: Mapping[str, Any], model: torch.nn.Module) -> PeftConfig:
    """The peft configuration of a trained method for `model`; raises `PalimpsestError` on bad options."""
    options = complete(method, options, model)
    if "rank" in options:
        return _lora(method, model, options)
    if (tokens := options["tokens"]) > (context := context_length(model)) - 2:
        raise PalimpsestError(
            f"recovery {method}: {tokens} tokens{_by(options)} leave no room for text in this model's context of "
            f"{context}. Write {_less(method, options, model, max(context // 4, 1))} or so."
        )
    size = {"num_virtual_tokens": tokens, "task_type": TaskType.CAUSAL_LM}
    if method == "prefix":
        return PrefixTuningConfig(**size)
    if method == "p-tuning":
        return PromptEncoderConfig(**size, encoder_hidden_size=model.config.get_text_config().hidden_size)
    # Words of the vocabulary are a better start than noise (Lester et al., arXiv:2104.08691).
    return PromptTuningConfig(**size, prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB)


def complete(method: str, options: Mapping[str, Any], model: torch.nn.Module) -> dict[str, Any]:
    """All options of a trained method, with the rank or length that its budget makes."""
    known = {name: declared for name, declared in registry.declared().items() if declared.kind == registry.TRAINED}
    if method not in known:
        raise PalimpsestError(
            f'recovery method "{method}": trained are {", ".join(known)}.{did_you_mean(nearest(method, known))}'
        )
    defaults = known[method].options
    for name in options:
        if name not in defaults:
            meant = did_you_mean(nearest(name, defaults))
            raise PalimpsestError(f'recovery {method}: no option "{name}"; it has {", ".join(defaults)}.{meant}')
    return with_size(method, defaults, options, model)


def _lora(method: str, model: torch.nn.Module, options: Mapping[str, Any]) -> LoraConfig:
    rank, dropout = options["rank"], options["dropout"]
    if not 0 <= dropout < 1:
        raise PalimpsestError(f"recovery {method}: dropout {dropout} is not in [0, 1).")
    found = matrices(method, model, options["modules"])
    for name, shape in found.items():
        if rank > min(shape):
            raise PalimpsestError(
                f"recovery {method}: rank {rank}{_by(options)} is larger than {name} is wide "
                f"({' by '.join(map(str, shape))}). Write {_less(method, options, model, min(shape))} or less."
            )
    return LoraConfig(
        r=rank,
        lora_alpha=options["alpha"],
        lora_dropout=dropout,
        target_modules=sorted(options["modules"]),
        use_dora=method == "dora",
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in found),
        task_type=TaskType.CAUSAL_LM,
    )


def context_length(model: torch.nn.Module) -> int:
    """How many tokens a row may have."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048)


@torch.no_grad()
def _keys_and_values(model: torch.nn.Module, tokens: int) -> Any:
    words = torch.randint(model.get_input_embeddings().num_embeddings, (1, tokens))
    return model(input_ids=words, use_cache=True).past_key_values


@torch.no_grad()
def _direct_empty_rows(adapter: PeftModel) -> None:
    """Give the rows of weights that compression has emptied a direction; their length stays 0, and so their answer.

    DoRA divides a row by its length, which would be no number.
    """
    for layer in adapter.modules():
        for name, magnitudes in getattr(layer, "lora_magnitude_vector", {}).items():
            update, empty = layer.lora_B[name].weight, magnitudes.weight == 0
            update[empty] = torch.rand_like(update[empty]) - 0.5


def _by(options: Mapping[str, Any]) -> str:
    return f" (budget: {options['budget']})" if options["budget"] is not None else ""


def _less(method: str, options: Mapping[str, Any], model: torch.nn.Module, most: int) -> str:
    """The option that would make at most so large a rank or so long a prompt."""
    if options["budget"] is None:
        return f"{size_option(options)}: {most}"
    fixed, each = costs(method, model, options)
    return f"budget: {fixed + most * each}"
