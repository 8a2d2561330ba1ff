"""Probes: classifiers on frozen representations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from palimpsest.settings.base import Seed, Settings


class Probe(Settings):
    """What is read by a probe, or by each probe of a set, and where."""

    cells: list[str] | None = Field(
        None,
        min_length=1,
        description="Cells, as in `recovery`; all if left out.",
        examples=[["atlas/dense/full", "atlas/svd/k0.8"]],
    )
    recoveries: bool = Field(True, description="`false` leaves the recoveries of these cells out.")
    only: list[str] | None = Field(
        None, min_length=1, description="Of a set these probes; all if left out.", examples=[["tree_depth"]]
    )
    rows: int = Field(2000, ge=10, description="Rows of each probe at most, drawn once and for all.")
    pooling: list[Literal["mean", "last", "cls"]] = Field(
        default=["mean"],
        min_length=1,
        description="What stands for a sentence: the mean of its tokens, its last token, or an encoder's `[CLS]`.",
    )
    layers: list[Seed] | None = Field(
        None, min_length=1, description="Layers; 0 are the embeddings. All if left out.", examples=[[0, 2, 4]]
    )
    classifiers: list[Literal["linear", "mlp"]] = Field(
        default=["linear"], min_length=1, description="Logistic regression, or one hidden layer."
    )
    codelength: bool = Field(
        False, description="`true` measures the online codelength of the labels as well (Voita & Titov 2020)."
    )
    rank: int = Field(
        64, ge=1, description="Rank of the structural probe's map, the width of the model at most (kind `tree`)."
    )
