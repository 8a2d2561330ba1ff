"""Representation change: states, spectra and predictions of cells beside those of the dense model."""

from __future__ import annotations

from pydantic import Field

from palimpsest.settings.base import Settings


class Sensitivity(Settings):
    """One matrix of a cell at a time in an otherwise dense model."""

    cells: list[str] = Field(min_length=1, description="Cells, as in `recovery`.", examples=[["atlas/svd/k0.6"]])
    probes: list[str] = Field(
        default=[],
        description="Probes of sentences of the study, one by one (not a set's name), whose accuracy is looked at too: "
        "of classifiers trained anew, and of those that the dense model's states trained.",
        examples=[["tree_depth"]],
    )
    texts: int = Field(100, ge=10, description="Texts of the first of `representation.tasks`.")
    rows: int = Field(1500, ge=50, description="Rows of each probe at most, evenly spread over its data.")


class Representation(Settings):
    """CKA of all layers, singular spectra, the logit lens; the dense model is always there."""

    cells: list[str] | None = Field(
        None,
        min_length=1,
        description="Cells, as in `recovery`; all if left out.",
        examples=[["atlas/svd/k0.8", "atlas/svd/k0.6"]],
    )
    tasks: list[str] = Field(
        default=["perplexity"],
        min_length=1,
        description="Tasks of the study whose texts are read, or probes whose sentences are.",
    )
    texts: int = Field(200, ge=10, description="Texts of each, evenly spread over its rows.")
    sensitivity: Sensitivity | None = Field(
        None,
        description="What happens where only one matrix of a cell is compressed; not done if left out.",
        examples=[{"cells": ["atlas/svd/k0.6"]}],
    )
