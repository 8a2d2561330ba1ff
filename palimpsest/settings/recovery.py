"""What is put on cells to bring knowledge back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from palimpsest.settings.base import Count, Name, Real, Seed, Settings
from palimpsest.settings.texts import RecoveryText, Text

SWAPPED, SWAPPED_TEXT = "-swapped", "recovery_U"  # a cross-fitted recovery's twin: its name's end, its training text


class RecoveryTraining(Settings):
    """The text a recovery is trained on, and for how long."""

    text: RecoveryText = Field(
        description="A kind of text of the world, `{path: file}`, or `{calibration: name}`; for `fine-tune`, `{task: "
        "name}`: that task's training rows. It must say nothing of the people of pool U.",
        examples=["recovery_R"],
    )
    validation: Text | None = Field(
        None,
        description="Text for early stopping: a kind of text of the world, or `{path: file}`; none if left out.",
        examples=["recovery_V"],
    )
    mask: Literal["values"] | None = Field(
        None,
        description="`values` leaves the values of people out of the loss: the text is read, and none of its facts "
        "are learned.",
        examples=["values"],
    )
    steps: int = Field(
        300, ge=0, description="Training steps at most; 0 writes the recovery as it starts, e.g. an untrained prompt."
    )
    batch_size: Count = Field(16, description="Documents a step.")
    learning_rate: Real | None = Field(
        None, gt=0, description="Highest learning rate; 2.0e-3 if left out, and 1.0e-4 for `fine-tune`."
    )
    seed: Seed = Field(0, description="Seed of the initial weights and of the order of the documents.")
    validate_every: Count = Field(50, description="Steps between two looks at the validation text.")
    patience: Count = Field(4, description="Training stops after so many looks in a row that show no better loss.")
    checkpoint_minutes: Real = Field(
        2.0, ge=0, description="Minutes between the states that a killed training resumes from."
    )
    cross_fit: bool = Field(
        False,
        description="`true` makes a second recovery, `<name>-swapped`, trained on `recovery_U` in the place of "
        "`recovery_R`: what is unseen for one is text for the other, and the results of both are averaged.",
    )


class Recovery(Settings):
    """What is put on some cells to bring knowledge back."""

    method: str = Field(
        description="Recovery method: `lora`, `prompt`, `idp`, `eora`, … (docs/recoveries.md).", examples=["lora"]
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the method: docs/recoveries.md lists them. `budget: 8192` stands for a rank or a "
        "number of tokens: so many parameters at most.",
        examples=[{"rank": 4, "alpha": 8}],
    )
    training: RecoveryTraining | None = Field(
        None, description="How a trained method is trained.", examples=[{"text": "recovery_R"}]
    )
    calibration: str | None = Field(
        None,
        description="Calibration of a closed form, the first one if left out; or of a `merge` that keeps a rank where "
        "inputs are.",
        examples=["generic"],
    )
    of: list[Name] = Field(
        default_factory=list,
        description="Other recoveries of the same cells that a composed method is made of.",
        examples=[["prompt-8", "prompt-32"]],
    )
    cells: list[str] = Field(
        min_length=1,
        description="Cells, as model/label/level for all seeds, or model/label/level/s0 for one; `atlas/dense/full` is "
        "the dense model. A model's name stands for all of its cells.",
        examples=[["atlas/magnitude/0.6"]],
    )
