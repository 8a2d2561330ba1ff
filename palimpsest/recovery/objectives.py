"""What a trained recovery minimizes: the loss of the next token, or the distance to the dense model's distribution."""

from __future__ import annotations

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, pad

from palimpsest.recovery.documents import Batch


def next_token(model: nn.Module, batch: Batch) -> Tensor:
    """Σ −ln p(next token) over the positions that predict."""
    return cross_entropy(predictions(model, batch), batch.targets, reduction="sum")


class Distillation:
    """Σ T² KL(teacher ‖ model) over the positions that predict, both at temperature T.

    Hinton et al., arXiv:1503.02531. The factor T² keeps the size of the gradient whatever the temperature.
    """

    def __init__(self, teacher: nn.Module, temperature: float) -> None:
        self.teacher, self.temperature = teacher.eval().requires_grad_(False), temperature

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            wanted = log_softmax(predictions(self.teacher, batch) / self.temperature, -1)
        found = log_softmax(predictions(model, batch) / self.temperature, -1)
        return kl_div(found, wanted, reduction="sum", log_target=True) * self.temperature**2


def predictions(model: nn.Module, batch: Batch) -> Float[Tensor, "positions vocabulary"]:
    """float32 logits, only at the positions that predict: no others are projected to the vocabulary."""
    keep = pad(batch.predicts, (tokens_before(model), 0))

    def select(_, args):
        # (rows, tokens before + length, hidden) -> (1, positions, hidden)
        return (args[0][keep].unsqueeze(0),)

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        return model(input_ids=batch.ids, use_cache=False).logits[0].float()
    finally:
        hook.remove()


def tokens_before(model: nn.Module) -> int:
    """How many positions a soft prompt puts before the rows; the keys and values of a prefix are no positions."""
    prompt = isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning
    return model.active_peft_config.num_virtual_tokens if prompt and not is_prefix(model) else 0


def is_prefix(model: PeftModel) -> bool:
    return model.active_peft_config.peft_type == "PREFIX_TUNING"
