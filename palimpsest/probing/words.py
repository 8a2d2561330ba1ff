"""Probes of words, such as parts of speech: what a word's state says of it, layer by layer.

A word stands for the mean of its tokens. The control task gives each word type one label (Hewitt & Liang 2019): how
well a probe does on it shows what it can remember, and selectivity is what the task has beyond that. Of every split as
many words are probed as it has sentences, times `WORDS`: neighbours say little that is new, and cost as much.
"""

from __future__ import annotations

from collections import defaultdict
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

WORDS = 5  # probed for each sentence, on average


def extract(model, tokenizer, rows: Sequence[Mapping[str, Any]], options: Probe) -> dict[str, Tensor]:
    """`words` (layers + 1, probed words of all rows in order, width)."""
    from palimpsest.probing.word_states import word_states

    for row in rows:
        if len(row["labels"]) != len(row["words"]):
            raise PalimpsestError(
                f"{row['id']}: {len(row['words'])} words and {len(row['labels'])} labels; give each word its label, or "
                "null."
            )
    return {"words": word_states(model, tokenizer, rows, drawn(rows))}


def outcomes(
    features: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]], options: Probe
) -> Iterator[Outcome]:
    """`subset` is "all"; a row is a word, its cluster the sentence."""
    things = Labelled.of(
        (f"{row['id']}/{word + 1}", row["id"], row["words"][word], row["labels"][word], row["split"])
        for row, words in zip(rows, drawn(rows), strict=True)
        for word in words
    )
    yield from labelled_outcomes(features["words"], things, options, "a probe of words")


def drawn(rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The words of each row that are probed, counted from 0: of those with a label, drawn by digest."""
    by_split: dict[str, list[tuple[int, int]]] = defaultdict(list)
    sentences: dict[str, int] = defaultdict(int)
    for number, row in enumerate(rows):
        sentences[row["split"]] += 1
        by_split[row["split"]] += [(number, word) for word, label in enumerate(row["labels"]) if label is not None]
    kept: list[list[int]] = [[] for _ in rows]
    for split, words in by_split.items():
        order = sorted(words, key=lambda each: digest(f"{rows[each[0]]['id']}/{each[1]}"))
        for number, word in order[: WORDS * sentences[split]]:
            kept[number].append(word)
    return [sorted(words) for words in kept]
