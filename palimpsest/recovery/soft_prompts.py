"""The keys and values of a soft prompt. They do not depend on what follows, so they are computed once for all rows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from palimpsest.keys_values import Kept

PREFIX = "PREFIX_TUNING"  # peft's name of it; importing peft takes longer than most models take to load


@torch.no_grad()
def kept_prompt(model) -> Kept | None:
    """What peft would put before the tokens of every row; None if `model` is not wrapped by a prompt of peft's.

    Prompt tuning and p-tuning train embedded tokens, prefix tuning the keys and values of every layer.
    """
    configuration = getattr(model, "active_peft_config", None)
    if not getattr(configuration, "is_prompt_learning", False):
        return None
    prompt = model.get_prompt(batch_size=1)
    if configuration.peft_type != PREFIX:
        return keys_and_values(model.get_base_model(), prompt[0])
    length = torch.tensor([configuration.num_virtual_tokens], device=next(model.parameters()).device)
    return Kept.from_cache(prompt, None, length)


@torch.no_grad()
def keys_and_values(model, embedded: Float[Tensor, "positions width"], before: Kept | None = None) -> Kept:
    """Keys and values of embedded tokens at positions 0, 1, … of a causal language model.

    With `before` (one row) they see what is kept there, though their positions start anew; it is in the result too.
    """
    length = torch.tensor([len(embedded)], device=embedded.device)
    extra = {"past_key_values": DynamicCache()}
    if before is not None:
        places = torch.arange(len(embedded), device=embedded.device)[None]
        extra = {"past_key_values": before.cache(), "position_ids": places}
    output = model.base_model(inputs_embeds=embedded[None].to(model.dtype), use_cache=True, **extra)
    return Kept.from_cache(output.past_key_values, before, length)
