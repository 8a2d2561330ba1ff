"""How much attention an input gives to each of several prompts before it.

A pass of the model over the input, with the prompts' keys and values before it, through an attention function of our
own: transformers lets one be registered, so this works for every architecture that uses its attention interface. The
pass ends at the layer that is looked at; in those below, attention is what it always is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from palimpsest.keys_values import Kept
from palimpsest.provenance import PalimpsestError

NAME = "palimpsest_scores"


class _Enough(Exception):
    """The layer that is looked at has been reached."""


@torch.no_grad()
def attention_to_prompts(
    model,
    tokens: Int[Tensor, "rows length"],
    counts: Bool[Tensor, "rows length"],
    prompts: Kept,
    lengths: Sequence[int],
    *,
    layer: int | None,
    heads: Sequence[int] | None = None,
    with_input: bool = False,
) -> Float[Tensor, "rows prompts"]:
    """Share of the attention that goes to each prompt: mean over heads and over the tokens that `counts` says.

    Args:
        model: a transformers causal language model.
        tokens: rows padded on the right.
        prompts: the keys and values of all prompts, side by side in one row, and where the input starts.
        lengths: tokens of each prompt.
        layer: 1 for the first; None for the mean over all layers, which takes a pass through all of them.
        heads: 1 for the first; None for all.
        with_input: whether the softmax runs over the input's own keys too, or over those of the prompts alone.
    """
    found: list[Tensor] = []
    calls, total = 0, sum(lengths)
    keys_at = torch.cat([torch.arange(length, device=tokens.device) for length in lengths])

    def look(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float, more: dict) -> None:
        nonlocal calls
        calls += 1
        if layer not in (None, calls):
            return
        # Where attention slides, how far a prompt is follows from its positions, not from the prompts between.
        window = more.get("sliding_window") or 2**31
        distance = (int(prompts.next) + torch.arange(query.shape[2], device=keys_at.device))[:, None] - keys_at
        seen = (distance < window)[None, None]
        if with_input:
            seen = torch.cat([seen.expand(len(query), -1, -1, -1), _own(query, key, mask)[..., total:]], -1)
        weights = _weights(query, key if with_input else key[:, :, :total], seen, scaling, more.get("softcap"))
        weights = weights if heads is None else weights[:, [head - 1 for head in heads]]
        of_prompts = weights[..., :total].split(list(lengths), -1)
        shares = torch.stack([part.sum(-1) for part in of_prompts], -1).mean(1)  # rows, length, prompts
        found.append((shares * counts[..., None]).sum(1) / counts.sum(1, keepdim=True))
        if layer is not None:
            raise _Enough

    mine = prompts.of([0] * len(tokens))
    places = mine.next[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
    with _looking(model, look), contextlib.suppress(_Enough):
        model.base_model(input_ids=tokens, past_key_values=mine.cache(), position_ids=places, use_cache=True)
    if not found:
        raise PalimpsestError(
            f"a {type(model).__name__} does not compute attention through transformers' interface, so no prompt can be "
            "chosen by it. Write `choose: random`, `always` or `mean of all`."
        )
    return torch.stack(found).mean(0)


@contextlib.contextmanager
def _looking(model, look: Callable) -> Iterator[None]:
    """Attention as it is, after a look at its queries and keys."""
    usual = model.config._attn_implementation

    def attention(module, query, key, value, mask, scaling=None, **more):
        look(query, key, mask, query.shape[-1] ** -0.5 if scaling is None else scaling, more)
        function = ALL_ATTENTION_FUNCTIONS.get(usual, None)
        function = function or sys.modules[type(module).__module__].eager_attention_forward
        return function(module, query, key, value, mask, scaling=scaling, **more)

    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS[usual])
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def _own(query: Tensor, key: Tensor, mask: Tensor | None) -> Bool[Tensor, "rows 1 length keys"]:
    """Which keys a query sees, by the mask that the model made for this layer; without one, all up to its own."""
    if mask is None:
        length, keys = query.shape[2], key.shape[2]
        mask = torch.ones(1, 1, length, keys, dtype=torch.bool, device=key.device).tril(keys - length)
    seen = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    return seen.expand(len(query), -1, -1, -1)


def _weights(
    query: Tensor, key: Tensor, seen: Tensor, scaling: float, softcap: float | None
) -> Float[Tensor, "rows heads length keys"]:
    """Softmax of queries and keys over the keys that are `seen`, in float32; zeros where none is."""
    rows, heads, length, width = query.shape
    shared = query.view(rows, key.shape[1], -1, length, width)  # queries that share a head of keys
    logits = (shared @ key[:, :, None].transpose(-1, -2)).view(rows, heads, length, -1).float() * scaling
    if softcap is not None:
        logits = softcap * (logits / softcap).tanh()
    return logits.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num()
