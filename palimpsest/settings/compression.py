"""How models are compressed: calibrations, allocations, labels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from palimpsest.settings.base import Count, Level, Name, Names, Settings
from palimpsest.settings.texts import CalibrationText


class Calibration(Settings):
    """Text whose activations the methods see."""

    text: CalibrationText = Field(
        description="A kind of text of the world (`generic` is prose and passages, `knowledge` biographies and "
        "questions, `biographies_half_a` speaks of one half of the people only); `random`, tokens drawn evenly from "
        "the vocabulary without special ones; `{path: file}`; or `{task: name}`, that task's questions with their "
        "answers, for an encoder the rows that a classifier of it is trained on.",
        examples=["generic"],
    )
    samples: Count = Field(128, description="Rows; drawn from the text by the cell's seed.")
    length: int = Field(64, ge=2, description="Tokens a row, at most.")


class Allocation(Settings):
    """How the level of a cell is shared out among its matrices."""

    method: str | None = Field(
        None,
        description="Allocation; the name itself if left out: `only`, `redundant`, `owl`, `sensitivity`, `laser`, "
        "`error` or `bayesian`.",
        examples=["only"],
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the allocation: `only` has `modules`, `blocks` and `budget`, `owl` `outlier` and "
        "`spread`, …",
        examples=[{"modules": ["q_proj", "k_proj"]}],
    )
    calibration: str | None = Field(
        None, description="Calibration that it looks at; the first one if left out.", examples=["generic"]
    )
    measured_with: str | None = Field(
        None,
        description="Compression method by which it measures what matrices lose; by the kind of the level if left out: "
        "`wanda`, `rtn` or `svd-llm`. Labels of other methods may use the allocation all the same.",
        examples=["wanda"],
    )


class Compression(Settings):
    """A label: a method with its options and calibration, at some levels."""

    method: str | None = Field(None, description="Compression method; the label itself if left out.", examples=["gptq"])
    levels: list[Level] = Field(
        min_length=1,
        description=(
            'How hard, as strings: sparsity `"0.5"`, 2 kept of every 4 `"2:4"` (always quoted), bits `"4"` or '
            '`"4g128"`, a format `"nf4"`, a kept share `"k0.8"`, a joint level `"0.5+4g128"`. '
            "`palimpsest.methods()` says which of them a method takes."
        ),
        examples=[["0.5", "2:4"]],
    )
    calibration: Names | None = Field(
        None,
        description="Calibration of a method that needs statistics of its inputs; the first one if left out. A list "
        "makes a label of each, `<label>-<calibration>`.",
        examples=["generic"],
    )
    models: list[Name] | None = Field(
        None,
        min_length=1,
        description="Models to compress; all with `compress: true` if left out.",
        examples=[["atlas"]],
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the method; `palimpsest.methods()` lists them.",
        examples=[{"act_order": True}],
    )
    propagate: bool | None = Field(
        None,
        description="Whether a block is calibrated on the outputs of compressed (`true`) or of dense (`false`) blocks; "
        "the method's own choice if left out.",
        examples=[True],
    )
    allocation: str | None = Field(
        None,
        description="How the level is shared out among the matrices: a name of the section `allocation`, or an "
        "allocation that needs no options; every matrix has the label's level if left out (`uniform`).",
        examples=["owl"],
    )
