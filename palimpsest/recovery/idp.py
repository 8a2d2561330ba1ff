"""The recovery `idp`: its options, its folder, and how it is made of the soft prompts of a cell.

The folder stands alone: `prompts.safetensors` has the prompts' embedded tokens as they were trained, by the names that
the study gives them; what the options say of them (order of their tokens, what they see) is done on loading.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, read_json, verify_folder, write_json
from palimpsest.recovery import registry
from palimpsest.recovery.adapters import RECOVERY, WEIGHTS, read_recovery
from palimpsest.recovery.configure import context_length
from palimpsest.recovery.dynamic_prompts import CHOOSE, DynamicPrompts

METHOD, PROMPTS = "idp", "prompts.safetensors"
EMBEDDED = "prompt_embeddings"  # peft's name of a prompt
ALLOWED = {"softmax": ("prompts", "prompts and input"), "positions": ("shared", "own"), "choose": CHOOSE}


def make_idp(
    cell_folder: Path | str, output_folder: Path | str, *, options: Mapping[str, Any], of: Mapping[str, Path | str]
) -> dict:
    """Write the folder of a recovery that chooses among the soft prompts `of` (name -> adapter folder) of a cell.

    Returns what it writes to `recovery.json`. Raises PalimpsestError if one of them is no soft prompt or was trained on
    another cell, and where an option or the prompts together do not fit the model.
    """
    from palimpsest.loading import load

    cell, output = Path(cell_folder), Path(output_folder)
    digest = folder_digest(cell)
    prompts = {name: _prompt(name, Path(folder), digest) for name, folder in of.items()}
    options = registry.declared()[METHOD].options | dict(options)
    model, _ = load(cell)
    idp = dynamic_prompts(model, prompts, options)
    # An architecture into whose attention one cannot look is refused here, and not by the first question.
    idp.choose(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, dtype=torch.long))
    with atomic_folder(output) as folder:
        save_file(prompts, folder / PROMPTS, metadata={"format": "pt"})
        recovery = {
            "method": METHOD,
            "options": options,
            "cell": {"path": _relative(cell, output), "digest": digest},
            "of": [
                {"name": name, "path": _relative(folder, output), "digest": folder_digest(folder)}
                for name, folder in of.items()
            ],
            "consults_dense": False,
            "parameters_extra": sum(prompt.numel() for prompt in prompts.values()),
            "bytes": (folder / PROMPTS).stat().st_size,
        }
        write_json(folder / RECOVERY, recovery)
    return recovery


def load_idp(model, adapter_folder: Path | str) -> DynamicPrompts:
    """The cell `model` with the prompts of `adapter_folder`, ready for inference."""
    folder = Path(adapter_folder)
    verify_folder(folder)
    recovery, prompts = read_json(folder / RECOVERY), load_file(folder / PROMPTS)
    names = [entry["name"] for entry in recovery["of"]]
    return dynamic_prompts(model, {name: prompts[name] for name in names}, recovery["options"]).eval()


def dynamic_prompts(model, prompts: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> DynamicPrompts:
    """The model with prompts (tokens, width) and options that were checked against it; see the registry for those."""
    options = SimpleNamespace(**registry.declared()[METHOD].options | dict(options))
    _check_prompts(model, prompts)
    _check_options(model, prompts, options)
    return DynamicPrompts(model, prompts, options)


def _prompt(name: str, folder: Path, cell_digest: str) -> torch.Tensor:
    """The embedded tokens of a trained soft prompt, (tokens, width)."""
    recovery = read_recovery(folder)
    takes = registry.declared()[METHOD].made_of
    if recovery["method"] not in takes:
        raise PalimpsestError(
            f"recovery idp: of: {name} is a {recovery['method']}, which has no soft prompt. Name recoveries of method "
            f"{' or '.join(takes)}."
        )
    if recovery["cell"]["digest"] != cell_digest:
        raise PalimpsestError(
            f"recovery idp: of: {name} ({folder}) was trained on another cell ({recovery['cell']['digest'][:12]}… and "
            f"not {cell_digest[:12]}…). Train it on this one."
        )
    return load_file(folder / WEIGHTS)[EMBEDDED]


def _check_prompts(model, prompts: Mapping[str, torch.Tensor]) -> None:
    if len(prompts) < 2:
        raise PalimpsestError(
            f"recovery idp: of: {list(prompts)}: there is nothing to choose from. Name two soft prompts or more."
        )
    context, width = context_length(model), model.get_input_embeddings().weight.shape[1]
    for name, prompt in prompts.items():
        if prompt.shape[1] != width:
            raise PalimpsestError(
                f"recovery idp: of: {name} has vectors of {prompt.shape[1]} numbers, the model embeds in {width}."
            )
    lengths = {name: len(prompt) for name, prompt in prompts.items()}
    if sum(lengths.values()) > context - 2:
        said = " + ".join(f"{length} ({name})" for name, length in lengths.items())
        raise PalimpsestError(
            f"recovery idp: of: prompts of {said} tokens leave no room for text in this model's context of {context}. "
            "Name fewer or shorter ones."
        )
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise PalimpsestError(
            f"recovery idp: a {type(model).__name__} cannot be told positions, which dynamic prompts have to."
        )


def _check_options(model, prompts: Mapping[str, torch.Tensor], options: SimpleNamespace) -> None:
    for option, allowed in ALLOWED.items():
        if getattr(options, option) not in allowed:
            raise _refused(option, options, f"one of {', '.join(allowed)}")
    for option in ("divide_by_length", "block_mask", "shuffle"):
        if not isinstance(getattr(options, option), bool):
            raise _refused(option, options, "true or false")
    config = model.config.get_text_config()
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if options.layer != "mean" and not _is_number(options.layer, layers):
        raise _refused("layer", options, f'1 to {layers}, this model\'s last, or "mean"')
    if options.heads != "all":
        listed = options.heads if isinstance(options.heads, list) else [options.heads]
        if not listed or not all(_is_number(head, heads) for head in listed) or not isinstance(options.heads, list):
            raise _refused("heads", options, f'"all" or a list of numbers from 1 to {heads}')
    if options.choose == "always" and not _is_number(options.prompt, len(prompts)):
        raise _refused("prompt", options, f"1 to {len(prompts)}, the number in `of` of the one that always is chosen")
    if options.choose != "always" and options.prompt is not None:
        raise PalimpsestError(f"recovery idp: prompt {options.prompt} is for `choose: always`. Drop the key.")
    if isinstance(options.seed, bool) or not isinstance(options.seed, int) or options.seed < 0:
        raise _refused("seed", options, "a whole number of at least 0")


def _is_number(value: object, last: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= last


def _refused(option: str, options: SimpleNamespace, right: str) -> PalimpsestError:
    value = json.dumps(getattr(options, option))
    return PalimpsestError(f"recovery idp: {option} {value} is not {right}.")


def _relative(folder: Path | str, output: Path) -> str:
    return Path(os.path.relpath(folder, output)).as_posix()
