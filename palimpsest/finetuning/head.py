"""An encoder with a classification head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from palimpsest.compression.checkpoint import Checkpoint, reading
from palimpsest.provenance import PalimpsestError

CLASSIFIER = "ForSequenceClassification"
HEAD = ("classifier.", "pooler.")  # what a checkpoint may lack: the head, and BERT's pooling of the [CLS] token


def classes_of(model: nn.Module) -> list[str] | None:
    """The names of a classifier's classes in their order; None of any other model."""
    if CLASSIFIER not in type(model).__name__:
        return None
    return [model.config.id2label[number] for number in range(model.config.num_labels)]


def with_head(folder: Path | str, classes: Sequence[str], seed: int = 0) -> nn.Module:
    """The encoder in a dense folder as transformers' sequence classifier of `classes`, in float32.

    A head that classifies just these is kept; any other is drawn anew by `seed`, and so is a pooler that the
    checkpoint lacks (it was saved with a masked-LM head).
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = Path(folder)
    checkpoint = Checkpoint(folder)
    if checkpoint.family.causal:
        raise PalimpsestError(
            f"{folder}: a {checkpoint.config['model_type']} is a decoder, which answers in words. Encoders (BERT, "
            "RoBERTa) are fine-tuned."
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    names = dict(enumerate(classes))
    is_same = CLASSIFIER in (config.architectures or [""])[0] and config.id2label == names
    config.id2label, config.label2id = names, {name: number for number, name in names.items()}
    config.problem_type = None
    # transformers draws what is missing, with the random numbers of the process.
    torch.manual_seed(seed)
    with reading(folder):
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    drawn = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    if lacking := sorted(
        name for name in drawn if not name.removeprefix(f"{model.base_model_prefix}.").startswith(HEAD)
    ):
        raise PalimpsestError(
            f"{folder}: the checkpoint lacks {len(lacking)} tensors of its encoder, e.g. {lacking[0]}."
        )
    if CLASSIFIER in (checkpoint.config.get("architectures") or [""])[0] and not is_same:
        _draw(model.classifier, config.initializer_range)  # that of another task, of as many classes
    return model.eval()


@torch.no_grad()
def _draw(head: nn.Module, spread: float) -> None:
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.normal_(0, spread)
            layer.bias.zero_()
