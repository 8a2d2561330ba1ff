"""Texts as batches of tokens, and which of these tokens are looked at.

The first token of a text is not: it has nothing but itself to look at, and large models use it as a sink. What is
kept of a batch stands in one row, text after text, so that the numbers depend on no padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palimpsest.evaluation.texts import prompts
from palimpsest.probing.data import read_probe
from palimpsest.provenance import PalimpsestError

TOKENS_A_BATCH = 4096
MOST_TOKENS = 256  # of a text; less where the model's context is shorter
FEWEST_TEXTS, FEWEST_TOKENS = 10, 3
MASKED = 7  # an encoder predicts every seventh token, which is masked
NOTHING = -1  # in the place of a target


@dataclass(frozen=True)
class Batch:
    """Texts padded on the right; `text` and `targets` are of the tokens that are kept, in order."""

    tokens: Int[Tensor, "rows length"]
    mask: Bool[Tensor, "rows length"]  # not padding
    kept: Bool[Tensor, "rows length"]
    numbers: Int[Tensor, rows]  # which texts these are
    wanted: Int[Tensor, "rows length"]  # the token that is to be predicted at each place, or NOTHING
    types: Int[Tensor, "rows length"] | None = None  # which of two texts a token is of, where an encoder asks for that

    @cached_property
    def text(self) -> Int[Tensor, tokens]:
        return self.numbers[:, None].expand_as(self.kept)[self.kept]

    @cached_property
    def targets(self) -> Int[Tensor, tokens]:
        return self.wanted[self.kept]


def read_texts(folder: str) -> list[str]:
    """The texts of a task's folder, as a model reads them before it answers, or the sentences of a probe's."""
    from pathlib import Path

    if not (Path(folder) / "rows.jsonl").is_file():
        return prompts(folder)
    definition, rows = read_probe(folder)
    if definition["kind"] != "sentence":
        raise PalimpsestError(f"{folder}: {definition['probe']} is a probe of kind {definition['kind']}, not sentence.")
    return [row["text"] for row in rows]


def token_rows(tokenizer, texts: Sequence[str], most: int, context: int, name: str) -> list[list[int]]:
    """At most so many of the texts, evenly spread, each cut to MOST_TOKENS or the context; `name` is theirs in errors.

    Raises PalimpsestError where fewer than FEWEST_TEXTS have FEWEST_TOKENS tokens.
    """
    longest = min(MOST_TOKENS, context)
    rows = [row[:longest] for row in tokenizer(list(texts), return_attention_mask=False)["input_ids"]]
    rows = [row for row in rows if len(row) >= FEWEST_TOKENS]
    if len(rows) < FEWEST_TEXTS:
        raise PalimpsestError(
            f"representation: {name} has {len(rows)} texts of at least {FEWEST_TOKENS} tokens, and {FEWEST_TEXTS} are "
            "needed. Name another in `representation: {tasks: […]}`."
        )
    return rows if len(rows) <= most else [rows[number * len(rows) // most] for number in range(most)]


def batches(rows: Sequence[Sequence[int]], types: Sequence[Sequence[int]] | None = None) -> Iterator[Batch]:
    """What a decoder reads: the token that is to be predicted is the next one. `types` are those of pairs of texts."""
    for some, tokens, mask in _padded(rows):
        kept = mask.clone()
        kept[:, 0] = False
        wanted = torch.full_like(tokens, NOTHING)
        wanted[:, :-1] = torch.where(mask[:, 1:], tokens[:, 1:], NOTHING)
        kinds = types and torch.tensor([
            [*types[number], *(0,) * (tokens.shape[1] - len(types[number]))] for number in some
        ])  # fmt: skip
        yield Batch(tokens, mask, kept, torch.tensor(some), wanted, kinds)


def masked_batches(rows: Sequence[Sequence[int]], tokenizer) -> Iterator[Batch]:
    """What an encoder reads to predict its masked tokens: of those that are not special, every seventh over all texts.

    Only these are kept, and each is its own target.
    """
    if tokenizer.mask_token_id is None:
        raise PalimpsestError("representation: an encoder whose tokenizer has no mask token predicts no masked words.")
    special = torch.tensor(sorted(tokenizer.all_special_ids))
    seen = 0
    for some, tokens, mask in _padded(rows):
        candidates = mask & ~torch.isin(tokens, special)
        place = candidates.flatten().long().cumsum(0).reshape(candidates.shape) + seen
        seen += int(candidates.sum())
        kept = candidates & (place % MASKED == 0)
        yield Batch(
            torch.where(kept, tokenizer.mask_token_id, tokens), mask, kept, torch.tensor(some),
            torch.where(kept, tokens, NOTHING),
        )  # fmt: skip


def _padded(rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Numbers, tokens and mask of rows of like length, so many that a batch has TOKENS_A_BATCH tokens at most."""
    order = sorted(range(len(rows)), key=lambda number: (-len(rows[number]), number))
    while order:
        length = len(rows[order[0]])
        size = max(1, TOKENS_A_BATCH // length)
        some, order = order[:size], order[size:]
        lengths = torch.tensor([len(rows[number]) for number in some])
        tokens = torch.tensor([[*rows[number], *(0,) * (length - len(rows[number]))] for number in some])
        yield some, tokens, torch.arange(length) < lengths[:, None]
