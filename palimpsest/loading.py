"""`load`: a folder becomes a transformers model, be it dense, compressed or recovered.

Compressed layers are ordinary Linear layers with the weights they stand for, so that whatever works on a dense model
works on a compressed one. Loading runs no code from the folder and opens no connection.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from palimpsest.compression import artifact
from palimpsest.compression.checkpoint import Checkpoint, reading
from palimpsest.compression.families import FAMILIES
from palimpsest.compression.install import install
from palimpsest.compression.weights import LowRank
from palimpsest.provenance import PalimpsestError, folder_digest, read_json, verify_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RECOVERY, ADAPTER = "recovery.json", "adapter_model.safetensors"


def load(
    directory: Path | str, device: str = "cpu", keep_factors: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in `directory`, ready for inference, and its tokenizer.

    directory: a dense checkpoint (config.json), a cell (compression.json) or an adapter (recovery.json),
        also named by its variant's folder.
    keep_factors: leave low-rank layers as two Linear layers, `right` and `left`.
    Raises PalimpsestError if the folder is missing, damaged, or made from another checkpoint than the one it refers to.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise PalimpsestError(f"{folder}: there is no such folder.")
    if (folder / "adapter" / RECOVERY).is_file():  # a variant's folder, of which the adapter is a part
        folder = folder / "adapter"
    if (folder / RECOVERY).is_file() or (folder / artifact.RECORD).is_file():
        verify_folder(folder)  # what follows reads records that are whole
        read = _recovered if (folder / RECOVERY).is_file() else _compressed
        try:
            model, tokenizer = read(folder, keep_factors)
        except (KeyError, TypeError, AttributeError) as error:
            raise PalimpsestError(
                f"{folder}: its record is not one that this version wrote ({error!r}). Delete {folder} and run the "
                "study again."
            ) from error
    elif (folder / "config.json").is_file():
        model, tokenizer = _dense(folder), load_tokenizer(folder)
    else:
        raise PalimpsestError(
            f"{folder}: not a model folder: no config.json (dense), {artifact.RECORD} (compressed) or {RECOVERY} "
            "(recovered) here."
        )
    return model.to(device).eval(), tokenizer


def random_twin(folder: Path | str, seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model of the architecture of a dense folder whose weights were drawn and never trained, and its tokenizer."""
    from transformers import AutoConfig

    folder = Path(folder)
    kind = _class_of(Checkpoint(folder))
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    make = kind._from_config if hasattr(kind, "_from_config") else kind.from_config  # the latter of Auto classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(config, dtype=torch.float32).eval(), load_tokenizer(folder)


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer of a dense folder."""
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not folder.is_dir():
        raise PalimpsestError(f"{folder}: there is no such folder.")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise PalimpsestError(f"{folder}: its tokenizer does not load ({error}).") from error


def _dense(folder: Path) -> PreTrainedModel:
    checkpoint = Checkpoint(folder)  # digests, and every safetensors file opens
    with reading(folder):
        try:
            model, loaded = _class_of(checkpoint).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except (ValueError, OSError, KeyError, RuntimeError) as error:
            raise PalimpsestError(f"{folder}: the checkpoint does not load: {error}") from error
    # transformers fills what is missing with random numbers and goes on.
    if lacking := sorted([*loaded["missing_keys"], *loaded.get("mismatched_keys", ())], key=str):
        raise PalimpsestError(
            f"{folder}: the checkpoint lacks {len(lacking)} tensors that config.json asks for, e.g. {lacking[0]}."
        )
    return model


def _class_of(checkpoint: Checkpoint) -> type[PreTrainedModel]:
    """A decoder is a causal language model; an encoder is what it was saved as, by the name in config.json."""
    import transformers

    config = checkpoint.config
    if config.get("model_type") not in FAMILIES or checkpoint.family.causal:
        return transformers.AutoModelForCausalLM
    name = (config.get("architectures") or ["AutoModel"])[0]
    found = getattr(transformers, name, None)
    if not isinstance(found, type) or not name.startswith(("Auto", "Bert", "Roberta")):
        raise PalimpsestError(
            f"{checkpoint.folder / 'config.json'}: architectures: {name!r} is no model of transformers for a "
            f"{config['model_type']}, e.g. BertForMaskedLM."
        )
    return found


def _compressed(folder: Path, keep_factors: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    record = artifact.read_record(folder)
    base = artifact.base_folder(folder, record)
    layers = artifact.read_layers(folder, record)
    model = _fine_tuned(folder, base, record) if "replaced" in record else _dense(base)
    transposed = Checkpoint(base).family.transposed if layers else False
    for stored, compressed in layers.items():
        name = path_in(model, stored) if "replaced" in record else stored
        layer = model.get_submodule(name)
        if keep_factors and isinstance(compressed, LowRank):
            model.set_submodule(name, TwoFactors(compressed, layer.bias))
            continue
        try:
            install(layer, compressed, transposed)
        except PalimpsestError as error:
            raise PalimpsestError(f"{folder}: {name}: {error}") from None
    return model, load_tokenizer(base)


def _fine_tuned(folder: Path, base: Path, record: dict) -> PreTrainedModel:
    """A cell's dense checkpoint with the head and the other dense tensors that fine-tuning has put in their place."""
    from palimpsest.finetuning.head import with_head

    model = with_head(base, record["replaced"]["classes"])
    model = model.to(getattr(torch, record["replaced"]["dtype"]))
    if unknown := model.load_state_dict(artifact.read_replaced(folder, record), strict=False).unexpected_keys:
        raise PalimpsestError(f"{folder / artifact.REPLACED}: the model has no tensor {unknown[0]}.")
    return model


def path_in(model: nn.Module, layer: str) -> str:
    """Where a model with another head than its checkpoint's has a layer of an encoder."""
    begins = f"{model.base_model_prefix}."
    return f"{begins}{layer.removeprefix(begins)}"


def _recovered(folder: Path, keep_factors: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from palimpsest.recovery.adapters import attach

    verify_folder(folder)
    if read_json(folder / RECOVERY)["method"] == "idp":
        from palimpsest.recovery.idp import load_idp

        model, tokenizer = _compressed(_recovered_cell(folder), keep_factors)
        return load_idp(model, folder), tokenizer
    replaced = (folder / "cell").is_dir()  # the recovery changed weights of its cell: here is the whole of it
    model, tokenizer = _compressed(folder / "cell" if replaced else _recovered_cell(folder), keep_factors)
    return model if replaced and not (folder / ADAPTER).is_file() else attach(model, folder), tokenizer


def _recovered_cell(folder: Path) -> Path:
    """The cell that an adapter was made on, after checking that it is that one."""
    made_on = read_json(folder / RECOVERY)["cell"]
    cell = Path(os.path.normpath(folder / made_on["path"]))
    if not cell.is_dir():
        raise PalimpsestError(
            f"{folder}: trained on the cell {cell}, and there is no such folder. Restore it, or train again."
        )
    found = folder_digest(cell)
    if found != made_on["digest"]:
        raise PalimpsestError(
            f"{folder}: an adapter made from another cell: it was trained on {made_on['digest'][:12]}…, and {cell} is "
            f"{found[:12]}…. Delete {folder} and run the study again."
        )
    return cell


class TwoFactors(nn.Module):
    """A low-rank layer as two Linear layers: `right` (in -> rank), then `left` (rank -> out) with the layer's bias."""

    def __init__(self, factors: LowRank, bias: nn.Parameter | None) -> None:
        super().__init__()
        rows, columns = factors.shape
        if factors.bias is not None:
            own = factors.bias if bias is None else bias.detach() + factors.bias
            bias = nn.Parameter(own, requires_grad=factors.right.requires_grad)
        with torch.device("meta"):
            self.right = nn.Linear(columns, factors.rank, bias=False)
            self.left = nn.Linear(factors.rank, rows, bias=bias is not None)
        self.right.weight, self.left.weight = nn.Parameter(factors.right), nn.Parameter(factors.left)
        self.left.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(self.right(x))
