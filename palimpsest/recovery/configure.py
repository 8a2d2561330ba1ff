"""From a study's recovery options to a peft configuration, checked against the model it is meant for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import torch
from peft import LoraConfig, PeftConfig, PromptTuningConfig, PromptTuningInit, TaskType

from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import registry


def configure(method: str, options: Mapping, model: torch.nn.Module) -> PeftConfig:
    """The peft configuration of `method` ("lora" or "prompt") for `model`; raises `PalimpsestError` on bad options."""
    known = registry.declared()
    if method not in known:
        raise PalimpsestError(
            f'recovery method "{method}": there are {", ".join(sorted(known))}{_nearest(method, known)}.'
        )
    defaults = known[method].options
    for name in options:
        if name not in defaults:
            allowed = ", ".join(sorted(defaults)) + _nearest(name, defaults)
            raise PalimpsestError(f'recovery {method}: no option "{name}"; it has {allowed}.')
    build = {"lora": _lora, "prompt": _prompt}[method]
    return build(model, **defaults | dict(options))


def _lora(model: torch.nn.Module, rank: int, alpha: float, dropout: float, modules: list[str]) -> LoraConfig:
    _check_count("lora", "rank", rank)
    if not 0 <= dropout < 1:
        raise PalimpsestError(f"recovery lora: dropout {dropout} is not in [0, 1).")
    linear = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    for module in modules:
        found = {name: layer for name, layer in linear.items() if name == module or name.endswith(f".{module}")}
        if not found:
            known = sorted({name.rsplit(".", 1)[-1] for name in linear})
            raise PalimpsestError(
                f'recovery lora: modules: no linear layer of this model is called "{module}"; '
                f"it has {', '.join(known)}{_nearest(module, known)}."
            )
        for name, layer in found.items():
            if rank > min(layer.weight.shape):
                shape = " by ".join(map(str, layer.weight.shape))
                raise PalimpsestError(
                    f"recovery lora: rank {rank} is larger than {name} is wide ({shape}). "
                    f"Write rank: {min(layer.weight.shape)} or less."
                )
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=sorted(modules),
        task_type=TaskType.CAUSAL_LM,
    )


def _prompt(model: torch.nn.Module, tokens: int) -> PromptTuningConfig:
    _check_count("prompt", "tokens", tokens)
    context = context_length(model)
    if tokens > context - 2:
        raise PalimpsestError(
            f"recovery prompt: {tokens} tokens leave no room for text in this model's context of {context}. "
            f"Write tokens: {max(context // 4, 1)} or so."
        )
    # Words of the vocabulary are a better start than noise (Lester et al., arXiv:2104.08691).
    return PromptTuningConfig(
        num_virtual_tokens=tokens,
        prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
        task_type=TaskType.CAUSAL_LM,
    )


def context_length(model: torch.nn.Module) -> int:
    """How many tokens a row may have."""
    return int(getattr(model.config, "max_position_embeddings", None) or 2048)


def _check_count(method: str, option: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PalimpsestError(f"recovery {method}: {option} {value!r} is not a whole number of at least 1.")


def _nearest(name: str, known: object) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
