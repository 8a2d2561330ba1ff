"""A word's hidden state: the mean of its tokens, whatever the tokenizer makes of it.

Words are joined by spaces and tokenized as a text, so that a word has the tokens that it has in running text; the
offsets say which word a token stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from palimpsest.probing.states import check_room, read_states
from palimpsest.provenance import PalimpsestError


def word_states(
    model, tokenizer, rows: Sequence[Mapping[str, Any]], wanted: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """(layers + 1, words of all rows in order, width), float16; of each row the `wanted` words alone, counted from 0.

    Raises PalimpsestError for a row without words, beyond the model's context, or with a word that has no token.
    """
    read = [word_tokens(tokenizer, row) for row in rows]
    for row, (tokens, _) in zip(rows, read, strict=True):
        check_room(model, row["id"], len(tokens))
    places: dict[tuple[int, ...], list[int]] = {}
    for number, (tokens, _) in enumerate(read):
        places.setdefault(tokens, []).append(number)
    found: list[Tensor | None] = [None] * len(rows)
    for tokens, states in read_states(model, list(places)):
        for number in places[tokens]:
            own = read[number][1] if wanted is None else [read[number][1][word] for word in wanted[number]]
            found[number] = (_shares(own, len(tokens)).to(states) @ states).to(torch.float16).cpu()
    return torch.cat(found, 1)


def word_tokens(tokenizer, row: Mapping[str, Any]) -> tuple[tuple[int, ...], list[list[int]]]:
    """The tokens of a row's words, special ones included, and the positions of each word's own."""
    words = row["words"]
    if not words or not all(words):
        raise PalimpsestError(f"{row['id']}: an empty {'word' if words else 'sentence'}. Leave it out.")
    if not tokenizer.is_fast:
        raise PalimpsestError(
            f"{type(tokenizer).__name__} does not say which characters a token stands for; probes of words need a "
            "fast tokenizer (a folder with tokenizer.json)."
        )
    encoded = tokenizer(" ".join(words), return_offsets_mapping=True, return_attention_mask=False)
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word) + 1)
    spans = [(start, end - 1) for start, end in pairwise(ends)]
    own: list[list[int]] = [[] for _ in words]
    first = 0
    for position, (start, end) in enumerate(encoded["offset_mapping"]):
        while first < len(words) and spans[first][1] <= start:
            first += 1
        # A token may begin with the space before its word, and in some vocabularies stand for two words.
        for number in range(first, len(words)):
            if spans[number][0] >= end:
                break
            own[number].append(position)
    for word, positions in zip(words, own, strict=True):
        if not positions:
            raise PalimpsestError(
                f"{row['id']}: the tokenizer makes no token of the word {word!r}. Leave the sentence out."
            )
    return tuple(encoded["input_ids"]), own


def _shares(own: list[list[int]], tokens: int) -> Tensor:
    """(words, tokens): the share of each token in each word."""
    shares = torch.zeros(len(own), tokens)
    for number, positions in enumerate(own):
        shares[number, positions] = 1 / len(positions)
    return shares
