"""An adapter's folder: peft's two files, `recovery.json` and `curve.csv`, with the same bytes on every machine."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from palimpsest.provenance import PalimpsestError, read_json, verify_folder

WEIGHTS, CONFIGURATION, RECOVERY = "adapter_model.safetensors", "adapter_config.json", "recovery.json"
CELL = "cell"  # where a recovery that replaces weights of its cell has the whole of it


def attach(model: torch.nn.Module, adapter_folder: Path | str, cell_digest: str | None = None) -> PeftModel:
    """The cell `model` with the adapter of `adapter_folder` beside its weights, ready for inference.

    `cell_digest` is the digest of the cell that `model` was loaded from. An adapter that was trained on another cell
    is refused. A prompt makes the logits longer by its tokens, at the front.
    """
    folder = Path(adapter_folder)
    recovery = read_recovery(folder)
    trained_on = recovery["cell"]["digest"]
    if cell_digest is not None and cell_digest != trained_on:
        raise PalimpsestError(
            f"{folder}: an adapter made from another cell: it was trained on {trained_on[:12]}…, this one is "
            f"{cell_digest[:12]}…. Delete {folder} and run the study again."
        )
    attached = PeftModel.from_pretrained(
        model, str(folder), is_trainable=False, use_safetensors=True, local_files_only=True
    )
    return attached.eval()


def read_recovery(adapter_folder: Path | str) -> dict:
    """`recovery.json` of an adapter folder whose files are all what their digests say."""
    folder = Path(adapter_folder)
    verify_folder(folder)
    for name in (WEIGHTS, CONFIGURATION, RECOVERY):
        if not (folder / name).is_file():
            raise PalimpsestError(f"{folder}: no {name} here. This is not an adapter that a study made.")
    return read_json(folder / RECOVERY)


def adapter_state(model: PeftModel) -> dict[str, torch.Tensor]:
    """A copy of the trained tensors under peft's names."""
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: state[name].detach().clone().contiguous() for name in sorted(state)}


def write_adapter(folder: Path, state: Mapping[str, torch.Tensor], configuration: PeftConfig) -> None:
    """Write peft's own two files as peft reads them, without its model card, machine paths and unordered sets."""
    save_file(dict(state), folder / WEIGHTS, metadata={"format": "pt"})
    # peft writes sets in the order of this process's hash seed and the path of the model on this machine.
    settings = {name: _plain(value) for name, value in configuration.to_dict().items()}
    settings |= {"base_model_name_or_path": None, "inference_mode": True}
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (folder / CONFIGURATION).write_text(text, encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    return sorted(value) if isinstance(value, set | frozenset) else value
