"""Sentence probes, as SentEval's (Conneau et al. 2018): what one vector for a sentence says of it.

A sentence stands for the mean of its own tokens, its last own token, or an encoder's `[CLS]`. Beside the task stands a
control task, whose labels are keyed to a word of the sentence that recurs (`key`): the main verb in the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.probing.labelled import Labelled, read
from palimpsest.probing.outcome import Outcome
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.settings import Probe

Row = Mapping[str, Any]


def extract(model, tokenizer, rows: Sequence[Row], options: Probe) -> dict[str, Tensor]:
    """A tensor (layers + 1, rows, width) for each pooling of the options.

    Raises PalimpsestError for a sentence without tokens or beyond the model's context, and for `cls` where the
    tokenizer has none.
    """
    import torch

    from palimpsest.probing.states import check_room, read_states

    tokens = [_tokens(tokenizer, row) for row in rows]
    pools = {
        pooling: [_places(pooling, tokenizer, row, *own) for row, own in zip(rows, tokens, strict=True)]
        for pooling in options.pooling
    }
    same: dict[tuple[int, ...], list[int]] = {}
    for number, (ids, _) in enumerate(tokens):
        check_room(model, f"row {rows[number]['id']}", len(ids))
        same.setdefault(ids, []).append(number)
    found: dict[str, list[Tensor]] = {pooling: [torch.empty(0)] * len(rows) for pooling in pools}
    for ids, states in read_states(model, list(same)):
        for pooling, places in pools.items():
            pooled = states[:, places[same[ids][0]]].mean(1).to(torch.float16).cpu()
            for number in same[ids]:
                found[pooling][number] = pooled
    return {pooling: torch.stack(each, 1) for pooling, each in found.items()}


def outcomes(features: Mapping[str, np.ndarray], rows: Sequence[Row], options: Probe) -> Iterator[Outcome]:
    """`subset` is the pooling; a row is a sentence."""
    things = Labelled.of((row["id"], row["id"], row.get("key", ""), row["label"], row["split"]) for row in rows)
    for pooling in options.pooling:
        yield from read(features[pooling], things, options, subset=pooling)


def _tokens(tokenizer, row: Row) -> tuple[tuple[int, ...], list[int]]:
    """The tokens of a row's text, special ones included, and the positions of its own."""
    encoded = tokenizer(row["text"], return_special_tokens_mask=True, return_attention_mask=False)
    own = [place for place, special in enumerate(encoded["special_tokens_mask"]) if not special]
    if not own:
        raise PalimpsestError(f"row {row['id']}: an empty sentence, without a token. Leave the row out.")
    return tuple(encoded["input_ids"]), own


def _places(pooling: str, tokenizer, row: Row, ids: tuple[int, ...], own: list[int]) -> list[int]:
    """The positions whose mean is taken."""
    if pooling == "cls":
        if tokenizer.cls_token_id not in ids:
            raise PalimpsestError(
                f"pooling: cls, but the model's tokenizer begins no text with a [CLS] token (row {row['id']}). "
                "Write `pooling: [mean]` or `[last]`."
            )
        return [ids.index(tokenizer.cls_token_id)]
    return own if pooling == "mean" else own[-1:]
