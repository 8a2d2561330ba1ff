"""Fisher information of the weights: how much the loss of a calibration row feels each of them.

The one statistic that needs the model whole, with a gradient for each matrix that is compressed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn.functional import cross_entropy

from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def fisher_information(
    checkpoint: Checkpoint, rows: Integer[Tensor, "rows length"], lengths: Integer[Tensor, " rows"]
) -> dict[str, Float[Tensor, "out in"]]:
    """Layer name -> E[(∂L/∂W)²], float32 (out, in): the empirical Fisher information (Hsu et al., arXiv:2207.00112).

    The mean over rows of the squared gradient of a row's loss. A decoder's loss is the mean cross-entropy of the next
    token; that of an encoder with a masked-LM head the mean cross-entropy of the tokens themselves, none masked.
    Raises PalimpsestError for an encoder without such a head: it has no loss.
    """
    model = _model(checkpoint)
    causal, transposed = checkpoint.family.causal, checkpoint.family.transposed
    names = [checkpoint.layer_name(n, layer) for n in range(checkpoint.blocks()) for layer in checkpoint.family.layers]
    weights = {name: model.get_submodule(name).weight for name in names}
    model.requires_grad_(False)
    for weight in weights.values():
        weight.requires_grad_(True)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    counted = 0
    for row, length in zip(rows, lengths.tolist(), strict=True):
        tokens = row[None, :length]
        targets = tokens[0, 1:] if causal else tokens[0]
        if not len(targets):
            continue  # one token predicts nothing
        logits = model(input_ids=tokens).logits[0]
        loss = cross_entropy(logits[: len(targets)].float(), targets)
        for name, gradient in zip(names, torch.autograd.grad(loss, list(weights.values())), strict=True):
            sums[name] += gradient.square()
        counted += 1
    if not counted:
        raise PalimpsestError(f"{checkpoint.folder}: the calibration has no row of two tokens, so there is no loss.")
    return {name: (total.T if transposed else total).contiguous() / counted for name, total in sums.items()}


def _model(checkpoint: Checkpoint) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    name = (checkpoint.config.get("architectures") or [""])[0]
    if not checkpoint.family.causal and not name.endswith("ForMaskedLM"):
        raise PalimpsestError(
            f"{checkpoint.folder}: {name or 'an encoder'} has no loss whose gradients could be taken: Fisher "
            "information needs a decoder, or an encoder saved with its masked-LM head."
        )
    kind = AutoModelForCausalLM if checkpoint.family.causal else AutoModelForMaskedLM
    model = kind.from_pretrained(
        checkpoint.folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
    )
    return model.eval()
