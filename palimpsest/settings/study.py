"""A whole study."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from palimpsest.settings.base import Name, Seed, Settings, TaskName
from palimpsest.settings.compression import Allocation, Calibration, Compression
from palimpsest.settings.evaluation import Measurement, Similarity, TaskData
from palimpsest.settings.models import ATLAS, Model
from palimpsest.settings.probing import Probe
from palimpsest.settings.recovery import SWAPPED, SWAPPED_TEXT, Recovery
from palimpsest.settings.representation import Representation
from palimpsest.settings.world import World


def _probes(value: Any) -> Any:
    return {name: {} for name in value} if isinstance(value, list) and all(isinstance(n, str) for n in value) else value


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
    probes: Annotated[
        dict[str, Probe], BeforeValidator(_probes, json_schema_input_type=list[str] | dict[str, Probe])
    ] = Field(
        default_factory=dict,
        description="Probe or set of probes (files of `palimpsest/probing/tasks/`, without `.yaml`) → what is probed, "
        "and how. A list of names stands for their defaults.",
        examples=[{"attribute_value": {}}],
    )
    similarity: Similarity | None = Field(
        None,
        description="Compare attention and activations of every recovery with those of the dense model and of its "
        "cell; not done if left out.",
        examples=[{"texts": 100}],
    )
    representation: Representation | None = Field(
        None,
        description="What compression does to the states that models compute: CKA of layers, singular spectra, the "
        "logit lens, and which matrix matters; not done if left out.",
        examples=[{"texts": 200}],
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
