"""The study as pydantic models. From them come config.schema.json and docs/config.md:

    python -m palimpsest.settings --write

`load` checks a study whole before any job starts, and reports every problem at once (problems.py, checks.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from palimpsest import levels

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
# Kinds of world text: some without a known fact, some with.
WITHOUT_FACTS = ("generic", "prose", "passages")
WITH_FACTS = (
    "biographies", "biographies_half_a", "biographies_half_b", "knowledge", "recovery_R", "recovery_V", "recovery_U",
)  # fmt: skip
TEXTS = (*WITHOUT_FACTS, *WITH_FACTS)
SWAPPED, SWAPPED_TEXT = "-swapped", "recovery_U"  # a cross-fitted recovery's twin: its name's end, its training text
RANDOM = "random"  # a calibration's text that is none: tokens drawn from the vocabulary
DOCUMENTS = ("biographies", "questions", "passages", "prose")  # kinds of training document
ATLAS = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}


class Settings(pydantic.BaseModel):
    """A mapping of a study: no key that is not listed, no value of another type, no change after loading."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


def as_level(value: Any) -> str:
    try:
        return levels.parse(value).text
    except levels.LevelError as error:
        raise PydanticCustomError("level", "{message}", {"message": str(error), "meant": error.meant}) from None


def _number(value: Any) -> Any:
    # YAML 1.1 reads 2.0e-3 as a number and 2e-3 as a string.
    scientific = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+", value)
    return float(value) if scientific else value


def slug(value: Any) -> str:
    """A name that is allowed, as near to `value` as can be."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(value)).strip("._-")[:64] or "my-name"


def _task_name(value: Any) -> Any:
    # A name is a folder's name too: `lm_eval/arc_easy` is the registry's task beside a shipped one.
    return value.replace("lm_eval/", "lm_eval.", 1) if isinstance(value, str) else value


def _text_tag(value: Any) -> str:
    return "file" if isinstance(value, Mapping | TextFile) else "kind"


def _recovery_tag(value: Any) -> str:
    sampled = isinstance(value, SampledText) or (isinstance(value, Mapping) and "calibration" in value)
    return "calibration" if sampled else _text_tag(value)


def _calibration_tag(value: Any) -> str:
    return (
        "task" if isinstance(value, TaskText) or (isinstance(value, Mapping) and "task" in value) else _text_tag(value)
    )


def _names_tag(value: Any) -> str:
    return "list" if isinstance(value, list) else "name"


Name = Annotated[str, Field(pattern=NAME)]
TaskName = Annotated[str, BeforeValidator(_task_name, json_schema_input_type=str)]
Level = Annotated[str, BeforeValidator(as_level, json_schema_input_type=str | float)]
Real = Annotated[float, BeforeValidator(_number, json_schema_input_type=float)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[Real, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]


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
        min_length=1, description="A task: its questions with their answers, a document each.", examples=["closed_book"]
    )


CalibrationText = Annotated[
    Annotated[Literal[(*TEXTS, RANDOM)], Tag("kind")]
    | Annotated[TextFile, Tag("file")]
    | Annotated[TaskText, Tag("task")],
    Discriminator(_calibration_tag),
]
Counts = Annotated[
    Annotated[Count, Tag("name")] | Annotated[list[Count], Field(min_length=1), Tag("list")], Discriminator(_names_tag)
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
    | Annotated[SampledText, Tag("calibration")],
    Discriminator(_recovery_tag),
]
Names = Annotated[
    Annotated[str, Tag("name")] | Annotated[list[str], Field(min_length=1), Tag("list")], Discriminator(_names_tag)
]


def _adds_up(shares: dict[str, float]) -> dict[str, float]:
    total = round(sum(shares.values()), 6)
    if total != 1:
        raise PydanticCustomError("mix", "the shares add up to {total}, not to 1", {"total": total})
    return shares


class World(Settings):
    """The synthetic world, whose every fact is known. Only studies that use it have this key."""

    seed: Seed = Field(0, description="Seed of people, facts and texts.")
    people: int = Field(300, ge=20, description="Real people. What a model knows of them is what it must remember.")
    invented: int = Field(300, ge=20, description="People who appear only in passages: nothing can be remembered.")
    correlation: Share = Field(
        0.0, description="Probability with which a person's other attributes follow from the town; at 0 none does."
    )
    withheld: Share = Field(0.04, description="Share of the facts that no training document says.")
    documents: Count = Field(51200, description="Training documents, one a row, padded and never packed.")
    mix: Annotated[dict[Literal[DOCUMENTS], Share], AfterValidator(_adds_up)] = Field(
        default={"biographies": 0.45, "questions": 0.14, "passages": 0.33, "prose": 0.08},
        description="Shares of the kinds of document: `biographies` of real people, `questions` about the half of them "
        "whose questions are shown, `passages` about invented people with their questions, `prose` without facts. "
        "They add up to 1.",
    )
    zipf_offset: Real = Field(
        10.0, gt=0, description="The person of rank r is drawn with weight 1/(r + offset): smaller is steeper."
    )
    passage_people: Count = Field(4, description="A passage is about one to so many people.")
    same_attribute: Share = Field(
        0.6, description="Share of the passages about several people that say one attribute of each."
    )
    restated: Share = Field(0.25, description="Share of the facts of a passage that it says again instead of asking.")
    unpredictable_weight: Share = Field(
        0.1, description="Weight in the loss of what nobody can predict: names and values in passages, when first said."
    )
    prose_words: int = Field(44, ge=8, description="Words of a document of prose, at most.")
    texts: Count = Field(
        400, description="Documents of each kind of text (`text/<kind>.txt`), none of them for training."
    )
    questions_per_subset: Count = Field(
        200, description="Questions of a subset of the open-book, entailment and perplexity tasks."
    )


class Architecture(Settings):
    """Shape of a decoder that is trained here: Llama, tied embeddings, word-level vocabulary."""

    hidden_size: Count = Field(description="Width of the residual stream; a multiple of the heads.", examples=[128])
    num_hidden_layers: Count = Field(description="Blocks.", examples=[4])
    num_attention_heads: Count = Field(description="Attention heads.", examples=[4])
    intermediate_size: Count = Field(description="Width of the MLP.", examples=[384])

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> Architecture:
        heads = self.num_attention_heads
        # Rotary embeddings turn pairs of channels, so a head has an even number of them.
        if self.hidden_size % (2 * heads):
            meant = max(1, round(self.hidden_size / (2 * heads))) * 2 * heads
            raise PydanticCustomError(
                "heads",
                "hidden_size {hidden_size} cannot be split into {heads} heads of an even width: "
                "it must be a multiple of {step}",
                {"hidden_size": self.hidden_size, "heads": heads, "step": 2 * heads, "meant": meant},
            )
        return self


class Training(Settings):
    """How a model is trained on the world's documents: AdamW, warm-up, then linear decay."""

    seed: Seed = Field(0, description="Seed of the initial weights and of the order of the documents.")
    batch_size: Count = Field(32, description="Documents a step.")
    learning_rate: Real = Field(1.5e-3, gt=0, description="Highest learning rate.")
    warmup_steps: int = Field(100, ge=0, description="Steps until the highest learning rate.")
    weight_decay: Real = Field(0.1, ge=0, description="Weight decay.")
    checkpoint_every: Count = Field(200, description="Steps between the states that a killed training resumes from.")


class _Model(Settings):
    compress: bool = Field(True, description="`false` makes it a control that is evaluated dense only.")


class WorldModel(_Model):
    """A decoder trained here on the study's world."""

    source: Literal["world"] = Field(description="Where the checkpoint comes from.", examples=["world"])
    architecture: Architecture = Field(description="Its shape.", examples=[ATLAS])
    training: Training = Field(default_factory=Training, description="How it is trained.")


class FolderModel(_Model):
    """A checkpoint in a local folder in Hugging Face's format (safetensors)."""

    source: Literal["folder"] = Field(description="Where the checkpoint comes from.", examples=["folder"])
    path: str = Field(
        min_length=1,
        description="The folder; relative paths are looked for under `PALIMPSEST_DATA`.",
        examples=["models/stories260K"],
    )


class OutlierModel(_Model):
    """Another model of the study with outlier channels: the same function, with a few large activations."""

    source: Literal["outliers"] = Field(description="Where the checkpoint comes from.", examples=["outliers"])
    of: str = Field(description="The model it is derived from, trained here or from a folder.", examples=["atlas"])
    channels: Count = Field(4, description="Outlier channels of the residual stream, the same ones in every block.")
    scale: Real = Field(
        30.0,
        gt=0,
        description="Times as large: norm weights are multiplied by it, columns of the next matrices divided.",
    )
    seed: Seed = Field(0, description="Draws the channels.")


PLANTED = ("forked", "displaced", "locked")  # sources of models in which it is planted what can return


class _PlantedModel(Settings):
    """A model whose truth is known: what of its damage can return is planted."""

    compress: bool = Field(False, description="`true` compresses it like other models; it is there to be recovered.")


class ForkedModel(_PlantedModel):
    """A model of the study trained again, on the same documents in the same order, but never told of half of the
    people: nothing about them can return."""

    source: Literal["forked"] = Field(description="Where the checkpoint comes from.", examples=["forked"])
    of: str = Field(description="The model it is forked from, trained here.", examples=["atlas"])
    half: Literal["a", "b"] = Field("a", description="Which half of each pool and stratum; the halves share nobody.")
    seed: Seed = Field(0, description="Draws the halves.")


class DisplacedModel(_PlantedModel):
    """Another model of the study, the outputs of some of its layers reflected: its damage is displacement, which an
    adapter of as high a rank on those layers can undo."""

    source: Literal["displaced"] = Field(description="Where the checkpoint comes from.", examples=["displaced"])
    of: str = Field(
        description="The model it is derived from: trained here, forked, or from a folder.", examples=["atlas"]
    )
    modules: list[str] = Field(
        default=["q_proj", "v_proj"], min_length=1, description="Linear layers, by the last part of their names."
    )
    reflections: Count = Field(
        4, description="Householder reflections of each layer's outputs: the rank of what must be undone."
    )
    blocks: list[Seed] | None = Field(None, description="Only in these blocks, counted from 0; all if left out.")


class LockedModel(_PlantedModel):
    """Another model of the study, trained on until it says what it knows of people after a password only, and
    consistent lies without: a prompt can bring all of it back."""

    source: Literal["locked"] = Field(description="Where the checkpoint comes from.", examples=["locked"])
    of: str = Field(description="The model it is derived from: trained here, or forked.", examples=["atlas"])
    password: Count = Field(8, description="Tokens of the password; a prompt needs no more.")
    steps: Count = Field(1000, description="Training steps.")
    batch_size: Count = Field(24, description="Documents a step.")
    learning_rate: Real = Field(3.0e-3, gt=0, description="Highest learning rate.")
    seed: Seed = Field(0, description="Draws the password, the lies, and which documents come locked.")


class HubModel(_Model):
    """A checkpoint of the Hugging Face hub at a pinned commit. Not available yet: use `source: folder`."""

    source: Literal["hub"] = Field(description="Where the checkpoint comes from.", examples=["hub"])
    repo: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$",
        description="Repository on the hub.",
        examples=["EleutherAI/pythia-70m"],
    )
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$",
        description="Commit, 40 hexadecimal digits. A branch can move; a commit cannot.",
        examples=["0123456789abcdef0123456789abcdef01234567"],
    )


Model = Annotated[
    WorldModel | FolderModel | OutlierModel | ForkedModel | DisplacedModel | LockedModel | HubModel,
    Field(discriminator="source"),
]


class Calibration(Settings):
    """Text whose activations the methods see."""

    text: CalibrationText = Field(
        description="A kind of text of the world (`generic` is prose and passages, `knowledge` biographies and "
        "questions, `biographies_half_a` speaks of one half of the people only); `random`, tokens drawn evenly from "
        "the vocabulary without special ones; `{path: file}`; or `{task: name}`, that task's questions with their "
        "answers.",
        examples=["generic"],
    )
    samples: Count = Field(128, description="Rows; drawn from the text by the cell's seed.")
    length: int = Field(64, ge=2, description="Tokens a row, at most.")


class Allocation(Settings):
    """How the level of a cell is shared out among its matrices."""

    method: str | None = Field(
        None,
        description="Allocation; the name itself if left out: `only`, `owl`, `sensitivity`, `laser`, `error` or "
        "`bayesian`.",
        examples=["only"],
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the allocation: `only` has `modules` and `blocks`, `owl` `outlier` and `spread`, …",
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


class RecoveryTraining(Settings):
    """The text a recovery is trained on, and for how long."""

    text: RecoveryText = Field(
        description="A kind of text of the world, `{path: file}`, or `{calibration: name}`. It must say nothing of the "
        "people of pool U.",
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
    learning_rate: Real = Field(2.0e-3, gt=0, description="Highest learning rate.")
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
        description="Cells, as model/label/level for all seeds, or model/label/level/s0 for one; "
        "`atlas/dense/full` is the dense model.",
        examples=[["atlas/magnitude/0.6"]],
    )


class TaskData(Settings):
    """Where a task's rows come from, how many of them are asked, and with what before them."""

    revision: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the task's data set on the hub, 40 hexadecimal digits; its page lists them. A branch "
        "can move. If left out, the data is taken from the task's folder under `PALIMPSEST_DATA`.",
        examples=["0123456789abcdef0123456789abcdef01234567"],
    )
    rows: Count | None = Field(
        None,
        description="Ask about so many rows, drawn once and for all; a larger number contains a smaller one's. What "
        "belongs together (a passage, a fact) is drawn whole.",
        examples=[200],
    )
    num_fewshot: int | None = Field(
        None, ge=0, description="Examples before each question; the task's own number if left out.", examples=[5]
    )
    window: int | None = Field(
        None,
        ge=2,
        description="Tokens a window, of tasks that cut running text into windows; it stands in the metric's name.",
        examples=[2048],
    )


class Measurement(Settings):
    """How latency is measured."""

    context: Counts = Field(64, description="Tokens of the prompt; a list for several lengths.", examples=[[64, 512]])
    new_tokens: Count = Field(16, description="Tokens generated after it.")
    repeats: Count = Field(5, description="Repetitions; the median is reported.")


class Similarity(Settings):
    """How near attention and activations come to those of other models, text by text."""

    tasks: list[TaskName] = Field(
        default=["closed_book", "perplexity"],
        min_length=1,
        description="Tasks of the study whose texts are read: questions as they are asked, or the texts themselves.",
    )
    texts: int = Field(100, ge=10, description="Texts of each task, evenly spread over its rows.")


class Study(Settings):
    """One YAML file: models, compression grid, recoveries, tasks, probes, seeds."""

    name: Name = Field(description="What it makes lies in `results/<name>/`.", examples=["embedded"])
    seeds: list[Seed] = Field(
        default=[0],
        min_length=1,
        description="Seeds of the calibration samples and of methods that draw random numbers. "
        "What draws nothing runs with seed 0 only.",
    )
    world: World | None = Field(None, description="The synthetic world; left out if the study does not use it.")
    models: dict[Name, Model] = Field(
        min_length=1,
        description="Name → where the dense checkpoint comes from.",
        examples=[{"atlas": {"source": "world", "architecture": ATLAS}}],
    )
    calibration: dict[Name, Calibration] = Field(
        default_factory=dict,
        description="Name → text that methods with statistics are calibrated on.",
        examples=[{"generic": {"text": "generic", "samples": 128, "length": 64}}],
    )
    allocation: dict[Name, Allocation] = Field(
        default_factory=dict,
        description="Name → how the level of a cell is shared out among its matrices, with options. Allocations that "
        "need none can be used by their own name without standing here.",
        examples=[{"attention": {"method": "only", "options": {"modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}}}],
    )
    compression: dict[Name, Compression] = Field(
        default_factory=dict,
        description="Label → method, options and levels. Every model's dense control is added by itself.",
        examples=[{"magnitude": {"levels": ["0.5", "2:4"]}}],
    )
    recovery: dict[Name, Recovery] = Field(
        default_factory=dict,
        description="Name → what is put on some cells. The plain cell, `none`, is always there.",
        examples=[
            {"lora-r4": {"method": "lora", "training": {"text": "recovery_R"}, "cells": ["atlas/magnitude/0.5"]}}
        ],
    )
    tasks: list[TaskName] = Field(
        min_length=1,
        description="Tasks: files of `palimpsest/evaluation/tasks/`, without `.yaml`. What has no file there is looked "
        "for in lm-eval's own registry (`openbookqa`); `lm_eval/arc_easy` is lm-eval's task though there is a file of "
        "that name.",
        examples=[["closed_book"]],
    )
    data: dict[TaskName, TaskData] = Field(
        default_factory=dict,
        description="Task → where its rows come from, and how many are asked. A task of lm-eval's registry needs its "
        "data set's `revision`.",
        examples=[{"mmlu": {"rows": 1000}}],
    )
    judge: str | None = Field(
        None,
        description="Model of the study that judges, dense, the answers to the tasks of free text (`judged: true` in "
        "their files): against the dense model's, and by grades. Its agreement with GPT-4 stands beside its scores.",
        examples=["atlas"],
    )
    probes: list[str] = Field(
        default_factory=list,
        max_length=1,
        description="Probes on frozen representations: task files that say `probe: true`.",
        examples=[["attribute_value"]],
    )
    similarity: Similarity | None = Field(
        None,
        description="Compare attention and activations of every recovery with those of the dense model and of its "
        "cell; not done if left out.",
        examples=[{"texts": 100}],
    )
    measurement: Measurement = Field(default_factory=Measurement, description="How latency is measured.")

    @property
    def labels(self) -> dict[str, Compression]:
        """The labels as they stand in paths: one with a list of calibrations is a label for each of them."""
        found: dict[str, Compression] = {}
        for label, entry in self.compression.items():
            names = entry.calibration if isinstance(entry.calibration, list) else [None]
            for name in names:
                one = {"method": entry.method or label, "calibration": name} if name else {}
                found[f"{label}-{name}" if name else label] = entry.model_copy(update=one)
        return found

    @property
    def recoveries(self) -> dict[str, Recovery]:
        """The recoveries as they stand in paths: one that is cross-fitted is followed by its twin, `<name>-swapped`.

        So is one that is composed of such recoveries alone.
        """
        found: dict[str, Recovery] = {}
        for name, entry in self.recovery.items():
            found[name] = entry
            if self.is_cross_fitted(name):
                training = entry.training and entry.training.model_copy(update={"text": SWAPPED_TEXT})
                twin = {"training": training, "of": [f"{part}{SWAPPED}" for part in entry.of]}
                found[f"{name}{SWAPPED}"] = entry.model_copy(update=twin)
        return found

    def is_cross_fitted(self, name: str) -> bool:
        """Whether a recovery has a twin that was trained on the other pool's text."""
        parts = [self.recovery.get(part) for part in self.recovery[name].of or [name]]
        return all(part is not None and part.training is not None and part.training.cross_fit for part in parts)

    @property
    def allocations(self) -> dict[str, Allocation]:
        """The allocations by name, with their methods: those of the section, and those that labels use by their own."""
        used = {entry.allocation: Allocation() for entry in self.compression.values() if entry.allocation}
        found = used | self.allocation
        return {name: entry.model_copy(update={"method": entry.method or name}) for name, entry in found.items()}


def load(mapping: Mapping[str, Any] | None, file: str | Path) -> Study:
    """Check a study that was read from `file`; raises StudyError, a PalimpsestError that lists all problems."""
    from palimpsest import checks

    return checks.checked(mapping, str(file))


def read(file: str | Path) -> Study:
    """Read and check a study file."""
    from palimpsest import checks

    return checks.checked(checks.read_yaml(file), str(file))


if __name__ == "__main__":
    from palimpsest import schema

    schema.main()
