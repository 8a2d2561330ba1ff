"""Hidden states at the last token of a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from palimpsest.evaluation.plan import Row, alone, cut

TOKENS_A_BATCH = 4096


@torch.inference_mode()
def last_states(model, tokenizer, questions: Sequence[str]) -> Tensor:
    """(layers + 1, questions, width), float16. A soft prompt stands before the question, as in evaluation."""
    tokens = [tuple(row) for row in tokenizer(list(questions), return_attention_mask=False)["input_ids"]]
    # A wrapper such as peft's prompt may hold back `hidden_states`: they are taken where they arise.
    found: dict[tuple[int, ...], Tensor] = {}
    device = next(model.parameters()).device
    for batch in cut(alone(Row(row, len(row) - 1) for row in tokens), tokens=TOKENS_A_BATCH):
        rows = [node.row for _, node in batch]
        length = max(len(row.tokens) for row in rows)
        # Padding is on the right, where causal attention never looks; the mask is for what chooses by all tokens.
        padded = [[*row.tokens, *(0,) * (length - len(row.tokens))] for row in rows]
        own = [[1] * len(row.tokens) + [0] * (length - len(row.tokens)) for row in rows]
        inputs, mask = torch.tensor(padded, device=device), torch.tensor(own, device=device)
        output = model(input_ids=inputs, attention_mask=mask, output_hidden_states=True, use_cache=False)
        last = torch.tensor([row.first for row in rows], device=device)
        every = torch.arange(len(last), device=device)
        states = torch.stack([layer[:, -length:][every, last] for layer in output.hidden_states], 1)
        found.update(zip((row.tokens for row in rows), states.to(torch.float16).cpu(), strict=True))
    return torch.stack([found[row] for row in tokens], 1)
