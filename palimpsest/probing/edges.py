"""Edge probes (Tenney et al. 2019), simplified: what the states of one or two spans of words say of them.

A span stands for the mean of its words, and two stand side by side: dependency relations (a word, its head), types of
entities (one span), coreference (two). The control task's labels are keyed to the words of the first span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.probing.labelled import Labelled, digest
from palimpsest.probing.labelled import outcomes as labelled_outcomes
from palimpsest.probing.outcome import Outcome
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.settings import Probe


def extract(model, tokenizer, rows: Sequence[Mapping[str, Any]], options: Probe) -> dict[str, Tensor]:
    """`spans` (layers + 1, rows, spans × width)."""
    import torch

    from palimpsest.probing.word_states import word_states

    spans = checked(rows)
    needed = [sorted({word for start, end in each for word in range(start, end)}) for each in spans]
    words = word_states(model, tokenizer, rows, needed).float()
    found, start = [], 0
    for each, own in zip(spans, needed, strict=True):
        place = {word: start + number for number, word in enumerate(own)}
        parts = [words[:, [place[word] for word in range(*span)]].mean(1) for span in each]
        found.append(torch.cat(parts, 1).to(torch.float16))
        start += len(own)
    return {"spans": torch.stack(found, 1)}


def outcomes(
    features: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]], options: Probe
) -> Iterator[Outcome]:
    """`subset` is "all"; a row is a row, its cluster the sentence."""
    things = Labelled.of(
        (
            row["id"],
            digest(" ".join(row["words"])).hex()[:12],
            " ".join(row["words"][slice(*row["spans"][0])]),
            row["label"],
            row["split"],
        )
        for row in rows
    )
    yield from labelled_outcomes(features["spans"], things, options, "a probe of edges")


def checked(rows: Sequence[Mapping[str, Any]]) -> list[list[tuple[int, int]]]:
    """The spans of every row, within its words, and as many in one row as in another."""
    for row in rows:
        for start, end in row["spans"]:
            if not 0 <= start < end <= len(row["words"]):
                raise PalimpsestError(
                    f"{row['id']}: the span from {start} to {end} is out of range: there are {len(row['words'])} "
                    "words, counted from 0, and the end is the first word behind the span."
                )
        if not len(rows[0]["spans"]) == len(row["spans"]) in (1, 2):
            raise PalimpsestError(
                f"{row['id']}: {len(row['spans'])} spans, and {len(rows[0]['spans'])} in {rows[0]['id']}; give one in "
                "every row, or two."
            )
    return [[(start, end) for start, end in row["spans"]] for row in rows]
