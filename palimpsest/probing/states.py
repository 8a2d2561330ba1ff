"""Hidden states of a model on rows of tokens: a decoder or an encoder, with a head or without, behind a soft prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from palimpsest.evaluation.plan import Row, alone, cut
from palimpsest.provenance import PalimpsestError

TOKENS_A_BATCH = 4096
POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length")


@torch.inference_mode()
def passes(model, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[tuple[int, ...]], Any]]:
    """Forward passes over the distinct rows of tokens, longest first: the rows of each, and what came out of it.

    A soft prompt stands before the tokens, as in evaluation. Rows are padded on the right.
    """
    device = next(model.parameters()).device
    for batch in cut(alone(Row(tuple(row), len(row) - 1) for row in rows), tokens=TOKENS_A_BATCH):
        tokens = [node.row.tokens for _, node in batch]
        length = max(map(len, tokens))
        # Causal attention never looks at padding on the right; the mask is for encoders, and for what chooses a prompt
        # by all tokens.
        padded = [[*row, *(0,) * (length - len(row))] for row in tokens]
        own = [[1] * len(row) + [0] * (length - len(row)) for row in tokens]
        inputs, mask = torch.tensor(padded, device=device), torch.tensor(own, device=device)
        yield tokens, model(input_ids=inputs, attention_mask=mask, output_hidden_states=True, use_cache=False)


def read_states(model, rows: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Each distinct row of tokens with its states (layers + 1, tokens, width), longest first."""
    for tokens, output in passes(model, rows):
        length = max(map(len, tokens))
        # A soft prompt lengthens the rows: the tokens' own states come last.
        states = torch.stack([layer[:, -length:] for layer in output.hidden_states], 1)
        for row, found in zip(tokens, states, strict=True):
            yield row, found[:, : len(row)]


@torch.inference_mode()
def last_states(model, tokenizer, questions: Sequence[str]) -> Tensor:
    """(layers + 1, questions, width), float16: the states at each question's last token."""
    tokens = [tuple(row) for row in tokenizer(list(questions), return_attention_mask=False)["input_ids"]]
    found = {row: states[:, -1].to(torch.float16).cpu() for row, states in read_states(model, tokens)}
    return torch.stack([found[row] for row in tokens], 1)


def room(model) -> int:
    """How many tokens fit into the model's context, special ones included."""
    config = model.config
    positions = next((getattr(config, name) for name in POSITIONS if getattr(config, name, None)), 2**62)
    if config.model_type == "roberta":  # its positions start behind the padding's
        positions -= config.pad_token_id + 1
    prompt = getattr(model, "active_peft_config", None)
    before = prompt.num_virtual_tokens if getattr(prompt, "is_prompt_learning", False) else 0
    return positions - max([before, *getattr(model, "lengths", ())])


def check_room(model, name: str, tokens: int) -> None:
    """Refuse a row that the model's context would cut."""
    if tokens > (most := room(model)):
        raise PalimpsestError(
            f"{name}: {tokens} tokens do not fit into the model's context of {most}. Leave the row out or shorten it."
        )
