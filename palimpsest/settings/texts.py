"""Texts that a study names: kinds of the world's text, files, tasks, calibrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from palimpsest.settings.base import Settings

# Kinds of world text: some without a known fact, some with.
WITHOUT_FACTS = ("generic", "prose", "passages")
WITH_FACTS = (
    "biographies", "biographies_half_a", "biographies_half_b", "knowledge", "recovery_R", "recovery_V", "recovery_U",
)  # fmt: skip
TEXTS = (*WITHOUT_FACTS, *WITH_FACTS)
RANDOM = "random"  # a calibration's text that is none: tokens drawn from the vocabulary


def _text_tag(value: Any) -> str:
    return "file" if isinstance(value, Mapping | TextFile) else "kind"


def _recovery_tag(value: Any) -> str:
    sampled = isinstance(value, SampledText) or (isinstance(value, Mapping) and "calibration" in value)
    return "calibration" if sampled else _calibration_tag(value)


def _calibration_tag(value: Any) -> str:
    return (
        "task" if isinstance(value, TaskText) or (isinstance(value, Mapping) and "task" in value) else _text_tag(value)
    )


class TextFile(Settings):
    """A text file of one's own."""

    path: str = Field(
        min_length=1,
        description="A text file, one document a line; relative paths are looked for under `PALIMPSEST_DATA`.",
        examples=["data/tinystories/train.txt"],
    )


Text = Annotated[
    Annotated[Literal[TEXTS], Tag("kind")] | Annotated[TextFile, Tag("file")],
    Discriminator(_text_tag),
]


class TaskText(Settings):
    """A task's own text."""

    task: str = Field(
        min_length=1,
        description="A task. A calibration reads its questions with their answers, a document each; fine-tuning reads "
        "its training rows.",
        examples=["closed_book"],
    )


CalibrationText = Annotated[
    Annotated[Literal[(*TEXTS, RANDOM)], Tag("kind")]
    | Annotated[TextFile, Tag("file")]
    | Annotated[TaskText, Tag("task")],
    Discriminator(_calibration_tag),
]


class SampledText(Settings):
    """The rows of a calibration."""

    calibration: str = Field(
        min_length=1,
        description="A calibration of the study: the rows that it has drawn for the model, by the cell's seed.",
        examples=["generic"],
    )


RecoveryText = Annotated[
    Annotated[Literal[TEXTS], Tag("kind")]
    | Annotated[TextFile, Tag("file")]
    | Annotated[TaskText, Tag("task")]
    | Annotated[SampledText, Tag("calibration")],
    Discriminator(_recovery_tag),
]
