"""Fisher information: how much the loss feels of a change of each weight, by the gradients of calibration rows."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.provenance import PalimpsestError

MASKED = 0.15  # of an encoder's tokens, as in its training
Losses = list[tuple[float, Tensor]]  # of one row, each with the share that its squared gradients have


def fisher_information(
    checkpoint: Checkpoint, rows: Integer[Tensor, "rows length"], lengths: Integer[Tensor, " rows"]
) -> dict[str, Float[Tensor, "out in"]]:
    """E[(∂L/∂W)²] of every matrix of the blocks, by its name; float32, the mean over the rows.

    L is the loss of one row, a mean over its tokens; padding has no part in it. It depends on what the checkpoint is:
    a decoder: cross-entropy of the next token;
    an encoder with a masked-LM head: cross-entropy of 15 % of its tokens, at least one, each replaced by the mask
        token; they are drawn by a seed of their own, so that the same rows always have the same loss;
    an encoder that classifies texts: cross-entropy of the class; a calibration has no labels, so the mean is over all
        classes, each as likely as the model finds it;
    one that classifies tokens: cross-entropy of the class that it finds likeliest for each;
    an encoder without a head: ½‖h‖², h its last hidden states, as compress_weight takes ½‖Wx‖² for one matrix.
    A row without a loss (one token has no next one) does not count. In memory is the whole model in float32, and a
    gradient and a sum of each matrix. Raises PalimpsestError where no row has a loss, where the kind of head is not
    known, and where gradients are not finite.
    """
    from palimpsest.loading import load

    model, tokenizer = load(checkpoint.folder)
    model = model.float().requires_grad_(False)
    names = [
        checkpoint.layer_name(number, layer)
        for number in range(checkpoint.blocks())
        for layer in checkpoint.family.layers
    ]
    weights = [model.get_submodule(name).weight.requires_grad_() for name in names]
    sums = [torch.zeros_like(weight) for weight in weights]
    draws, count = torch.Generator().manual_seed(0), 0
    for row, length in zip(rows, lengths.tolist(), strict=True):
        tokens = row[:length][None]
        if checkpoint.family.causal:
            losses = _next_token(model, tokens)
        elif model.get_output_embeddings() is not None:
            losses = _masked(model, tokens, tokenizer, draws)
        else:
            losses = _headed(model, tokens)
        count += bool(losses)
        for number, (share, loss) in enumerate(losses, 1):
            gradients = torch.autograd.grad(loss, weights, retain_graph=number < len(losses))
            for total, gradient in zip(sums, gradients, strict=True):
                total.addcmul_(gradient, gradient, value=share)
    if not count:
        raise PalimpsestError(f"{checkpoint.folder}: no calibration row has a loss: use longer rows.")
    for name, total in zip(names, sums, strict=True):
        if not torch.isfinite(total).all():
            raise PalimpsestError(f"{name}: the gradients of the calibration rows are NaN, infinite or overflowing.")
    turned = [total.T.contiguous() if checkpoint.family.transposed else total for total in sums]
    return {name: total.div_(count) for name, total in zip(names, turned, strict=True)}


def _next_token(model: PreTrainedModel, tokens: Integer[Tensor, "1 length"]) -> Losses:
    if tokens.shape[1] < 2:
        return []
    return [(1.0, cross_entropy(model(input_ids=tokens, use_cache=False).logits[0, :-1], tokens[0, 1:]))]


def _masked(
    model: PreTrainedModel, tokens: Integer[Tensor, "1 length"], tokenizer: Any, draws: torch.Generator
) -> Losses:
    check_mask(model, tokenizer)
    hidden = hidden_words(tokens[0], tokenizer, draws)
    if not len(hidden):
        return []
    logits = masked_logits(model(input_ids=tokens.index_fill(1, hidden, tokenizer.mask_token_id)))
    return [(1.0, cross_entropy(logits[0, hidden], tokens[0, hidden]))]


def check_mask(model: PreTrainedModel, tokenizer: Any) -> None:
    if tokenizer.mask_token_id is None:
        raise PalimpsestError(
            f"{model.name_or_path}: the tokenizer has no mask token, so the loss of a {type(model).__name__} is not "
            "defined. Name it in tokenizer_config.json, or use a method that needs no Fisher information."
        )


def hidden_words(tokens: Integer[Tensor, " length"], tokenizer: Any, draws: torch.Generator) -> Integer[Tensor, " n"]:
    """The places of 15 % of a row's words, at least one, which a masked-LM head is to find; none of a row without."""
    words = (~torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))).nonzero().flatten()
    if not len(words):
        return words
    return words[torch.randperm(len(words), generator=draws)[: max(1, round(MASKED * len(words)))]]


def masked_logits(answer: Any) -> Tensor:
    return answer.logits if "logits" in answer else answer.prediction_logits


def _headed(model: PreTrainedModel, tokens: Integer[Tensor, "1 length"]) -> Losses:
    answer = model(input_ids=tokens)
    if "logits" in answer and answer.logits.ndim == 2:
        logs = answer.logits[0].log_softmax(-1)
        return list(zip(logs.exp().tolist(), -logs, strict=True))
    if "logits" in answer:
        return [(1.0, cross_entropy(answer.logits[0], answer.logits[0].argmax(-1)))]
    if "last_hidden_state" not in answer:
        raise PalimpsestError(
            f"{model.name_or_path}: a {type(model).__name__} has no loss that is known here: use its encoder alone, "
            "or a method that needs no Fisher information."
        )
    return [(1.0, answer.last_hidden_state.square().sum(-1).mean() / 2)]
