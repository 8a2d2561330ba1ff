"""Which cells and variants a study has, and where they lie. Plain Python: the Snakefile imports it.

    grid = Grid(study)
    [variant.folder(grid.results) for variant in grid.variants()]

A path reads as a sentence: cells/atlas/gptq/3g64/s0, variants/atlas/gptq/3g64/s0/lora-r4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from palimpsest.compression import registry
from palimpsest.compression.allocation import registry as allocation_registry
from palimpsest.levels import LevelError, from_path, parse
from palimpsest.probing import definition
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import registry as recovery_registry

if TYPE_CHECKING:
    from palimpsest.settings import Compression, Probe, Recovery, Study

DENSE = "dense"  # label and method of the control
NONE = "none"  # the recovery that is no recovery

# What a Snakefile says of its wildcards, so that each matches one part of a path.
WILDCARDS = {
    "model": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "label": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "level": r"[a-z0-9.+-]+",
    "seed": r"s[0-9]+",
    "recovery": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "calibration": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "allocation": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "task": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "probe": r"[A-Za-z0-9][A-Za-z0-9_-]*",
}


@dataclass(frozen=True, order=True)
class Cell:
    """One compressed model. `level` is canonical text (2:4); the id and the paths have 2-4."""

    model: str
    label: str
    method: str
    level: str
    seed: int

    @property
    def id(self) -> str:
        """`atlas/gptq/3g64/s0`"""
        return f"{self.model}/{self.label}/{parse(self.level).path}/s{self.seed}"

    @property
    def path(self) -> str:
        return f"cells/{self.id}"

    @property
    def wildcards(self) -> dict[str, str]:
        return dict(zip(("model", "label", "level", "seed"), self.id.split("/"), strict=True))

    @property
    def is_dense(self) -> bool:
        return self.label == DENSE

    def folder(self, results: str) -> str:
        return f"{results}/{self.path}"


@dataclass(frozen=True, order=True)
class Variant:
    """A cell with a recovery: what is evaluated, probed and measured."""

    cell: Cell
    recovery: str = NONE

    @property
    def id(self) -> str:
        """`atlas/gptq/3g64/s0/lora-r4`"""
        return f"{self.cell.id}/{self.recovery}"

    @property
    def path(self) -> str:
        return f"variants/{self.id}"

    @property
    def wildcards(self) -> dict[str, str]:
        return self.cell.wildcards | {"recovery": self.recovery}

    @property
    def row(self) -> dict[str, Any]:
        """The columns that name a variant in every table."""
        cell = self.cell
        return {"model": cell.model, "label": cell.label, "method": cell.method, "level": cell.level} | {
            "seed": cell.seed,
            "recovery": self.recovery,
        }

    def folder(self, results: str) -> str:
        return f"{results}/{self.path}"


class Grid:
    """The cells and variants of one study."""

    def __init__(self, study: Study, root: str = "results") -> None:
        self.study = study
        self.results = f"{root}/{study.name}"
        self.labels = study.labels
        self.recoveries = study.recoveries
        self.allocations = study.allocations

    def cells(self, model: str | None = None) -> list[Cell]:
        """All cells, or those of one model: its dense control, then label by label in the study's order."""
        return [cell for cell in self._cells.values() if model in (None, cell.model)]

    def variants(self, model: str | None = None) -> list[Variant]:
        """Each cell as it is, followed by its recoveries."""
        return [variant for variant in self._variants.values() if model in (None, variant.cell.model)]

    def cell(self, model: str, label: str, level: str, seed: str | int) -> Cell:
        """The cell that wildcards name (level as text or as in paths; seed 0 or s0)."""
        cell_id = f"{model}/{label}/{_level_path(level)}/{_seed_name(seed)}"
        return _find(self._cells, cell_id, f"study {self.study.name} has no cell")

    def variant(self, model: str, label: str, level: str, seed: str | int, recovery: str = NONE) -> Variant:
        """The variant that wildcards name."""
        variant_id = f"{model}/{label}/{_level_path(level)}/{_seed_name(seed)}/{recovery}"
        return _find(self._variants, variant_id, f"study {self.study.name} has no variant")

    def dense(self, cell: Cell) -> Cell:
        """The control that a cell is compared with."""
        return _control(cell.model)

    def matching(self, pattern: str) -> list[Cell]:
        """The cells that model/label/level or model/label/level/s0 names, the level as text or as in paths; or a model
        alone, all of its cells."""
        parts = pattern.split("/")
        if len(parts) == 1:
            return self.cells(pattern)
        if len(parts) not in (3, 4):
            return []
        parts[2] = _level_path(parts[2])
        wanted = "/".join(parts)
        return [cell for cell in self.cells() if wanted in (cell.id, cell.id.rpartition("/")[0])]

    def calibration(self, cell: Cell) -> tuple[str, int] | None:
        """(name, seed) of the calibration sample that a cell needs, or None."""
        declaration = registry.declared().get(cell.method)
        if cell.is_dense or declaration is None or not declaration.needs:
            return None
        name = self.labels[cell.label].calibration
        return name or next(iter(self.study.calibration)), cell.seed

    def allocation(self, cell: Cell) -> tuple[str, int] | None:
        """(name, seed) of the allocation that a cell uses; None where every matrix has the cell's level."""
        name = None if cell.is_dense else self.labels[cell.label].allocation
        if name is None or self.allocations[name].method == allocation_registry.UNIFORM:
            return None
        declaration = allocation_registry.declared()[self.allocations[name].method]
        return name, 0 if declaration.deterministic else cell.seed

    def allocation_calibration(self, name: str) -> str | None:
        """The calibration that an allocation looks at, if any."""
        entry = self.allocations[name]
        if not allocation_registry.declared()[entry.method].calibrated:
            return None
        return entry.calibration or next(iter(self.study.calibration))

    def allocation_settings(self, name: str, level: str) -> dict[str, Any]:
        """Everything that, when it changes, must make an allocation again (calibration text apart)."""
        entry = self.allocations[name]
        declaration = allocation_registry.declared()[entry.method]
        measure = allocation_registry.measure_for(parse(level), entry.measured_with) if declaration.measures else None
        return {
            "method": entry.method,
            "version": declaration.version,
            "options": dict(declaration.options) | entry.options,
            "calibration": self.allocation_calibration(name),
            "measured_with": measure,
            "measured_with_version": measure and registry.declared()[measure].version,
        }

    def calibrations(self) -> list[tuple[str, str, int]]:
        """Every (model, calibration, seed) that some cell, its allocation or its recovery needs."""
        needed = {}
        for cell in self.cells():
            if found := self.calibration(cell):
                needed[cell.model, *found] = None
            if (allocated := self.allocation(cell)) and (name := self.allocation_calibration(allocated[0])):
                needed[cell.model, name, allocated[1]] = None
        for variant in self.variants():
            if found := self.recovery_calibration(variant):
                needed[variant.cell.model, *found] = None
        return list(needed)

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Everything that, when it changes, must compress the cell again (calibration text apart)."""
        if cell.is_dense:
            return {
                "method": DENSE,
                "version": "1",
                "options": {},
                "propagate": None,
                "calibration": None,
                "allocation": None,
            }
        label, declaration = self.labels[cell.label], registry.declared()[cell.method]
        calibration, allocation = self.calibration(cell), self.allocation(cell)
        return {
            "method": cell.method,
            "version": declaration.version,
            "options": dict(declaration.options) | label.options,
            "propagate": declaration.propagate if label.propagate is None else label.propagate,
            "calibration": calibration and calibration[0],
            "allocation": allocation and self.allocation_settings(allocation[0], cell.level),
        }

    def recovery(self, variant: Variant) -> Recovery | None:
        """The settings of a variant's recovery; None for a plain cell."""
        return None if variant.recovery == NONE else self.recoveries[variant.recovery]

    def recovery_calibration(self, variant: Variant) -> tuple[str, int] | None:
        """(name, seed) of the calibration sample that a recovery looks at or is trained on, or None."""
        recovery = self.recovery(variant)
        if recovery and recovery.training and (name := getattr(recovery.training.text, "calibration", None)):
            return name, variant.cell.seed
        declaration = recovery and recovery_registry.declared().get(recovery.method)
        if declaration is None or declaration.calibration == recovery_registry.NO:
            return None
        if recovery.calibration is None and declaration.calibration == recovery_registry.TAKEN:
            return None
        return recovery.calibration or next(iter(self.study.calibration)), variant.cell.seed

    def recovery_task(self, variant: Variant) -> str | None:
        """The task on whose training rows a recovery is trained, or None."""
        recovery = self.recovery(variant)
        return getattr(recovery.training.text, "task", None) if recovery and recovery.training else None

    def learned_tasks(self) -> list[str]:
        """The tasks that something is fine-tuned on: models, or what is put on cells."""
        models = [getattr(model, "task", None) for model in self.study.models.values()]
        found = [*models, *(self.recovery_task(variant) for variant in self.variants())]
        return list(dict.fromkeys(task for task in found if task))

    def parts(self, variant: Variant) -> list[Variant]:
        """The recoveries of the same cell that a composed one is made of."""
        recovery = self.recovery(variant)
        return [Variant(variant.cell, name) for name in (recovery.of if recovery else ())]

    @cached_property
    def judged_tasks(self) -> list[str]:
        """The tasks whose answers the study's judge reads; none where it has no judge."""
        from palimpsest.evaluation.judge import is_judged

        return [task for task in self.study.tasks if is_judged(task)] if self.study.judge else []

    def is_encoder(self, model: str) -> bool:
        """Whether a model is an encoder such as BERT: it answers only what it was fine-tuned for."""
        settings = self.study.models[model]
        if settings.source == "world":
            return settings.architecture.type == "bert"
        return self.is_encoder(settings.of) if hasattr(settings, "of") else settings.type == "encoder"

    def tasks(self, variant: Variant) -> list[str]:
        """The tasks that a variant answers: all of the study's, or what an encoder was fine-tuned for."""
        if not self.is_encoder(variant.cell.model):
            return list(self.study.tasks)
        tuned = self.recovery_task(variant) or getattr(self.study.models[variant.cell.model], "task", None)
        return [task for task in self.study.tasks if task == tuned]

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """Every probe of the study, those of sets one by one, with what the study says of it."""
        found = {}
        for name, settings in self.study.probes.items():
            for member in definition.members(name):
                if settings.only is None or member in settings.only:
                    found.setdefault(member, settings)
        return found

    def probed(self, probe: str) -> list[Variant]:
        """The variants that a probe reads."""
        settings = self.probes[probe]
        cells = settings.cells and {cell.id for pattern in settings.cells for cell in self.matching(pattern)}
        return [
            variant
            for variant in self.variants()
            if (cells is None or variant.cell.id in cells) and (settings.recoveries or variant.recovery == NONE)
        ]

    def probes_of(self, variant: Variant) -> list[str]:
        """The probes that read a variant."""
        return [name for name, variants in self._probed.items() if variant in variants]

    def probes_of_model(self, model: str) -> list[str]:
        """The probes that read some variant of a model."""
        return [name for name in self.probes if any(variant.cell.model == model for variant in self.probed(name))]

    @cached_property
    def _probed(self) -> dict[str, set[Variant]]:
        return {name: set(self.probed(name)) for name in self.probes}

    def represented(self) -> list[Cell]:
        """The cells whose representations are compared with the dense model's, and the dense models themselves."""
        settings = self.study.representation
        if settings is None:
            return []
        found = self.cells() if settings.cells is None else self._named(settings.cells)
        wanted = {*found, *(self.dense(cell) for cell in found)}
        return [cell for cell in self.cells() if cell in wanted]

    def spliced(self) -> list[Cell]:
        """The cells whose matrices are put into the dense model one at a time."""
        settings = self.study.representation and self.study.representation.sensitivity
        return [cell for cell in self._named(settings.cells) if not cell.is_dense] if settings else []

    def _named(self, patterns: list[str]) -> list[Cell]:
        return list(dict.fromkeys(cell for pattern in patterns for cell in self.matching(pattern)))

    def probe_folder(self, probe: str) -> str:
        return f"{self.results}/probes/{probe}"

    def floor_folder(self, model: str) -> str:
        return f"{self.results}/floors/{model}"

    def world_folder(self) -> str:
        return f"{self.results}/world"

    def model_folder(self, model: str) -> str:
        return f"{self.results}/models/{model}"

    def task_folder(self, task: str) -> str:
        return f"{self.results}/tasks/{task}"

    def training_folder(self, task: str) -> str:
        """Where the rows are that something is fine-tuned on."""
        return f"{self.results}/training/{task}"

    def calibration_folder(self, model: str, calibration: str, seed: int) -> str:
        return f"{self.results}/calibration/{model}/{calibration}/s{seed}"

    def allocation_folder(self, model: str, allocation: str, level: str, seed: int) -> str:
        return f"{self.results}/allocations/{model}/{allocation}/{parse(level).path}/s{seed}"

    @cached_property
    def _cells(self) -> dict[str, Cell]:
        cells = []
        for model, settings in self.study.models.items():
            cells.append(_control(model))
            for label, compression in self.labels.items():
                if not settings.compress or model not in (compression.models or [model]):
                    continue
                method = compression.method or label
                for level in compression.levels:
                    cells += [Cell(model, label, method, level, seed) for seed in self._seeds(method, compression)]
        return {cell.id: cell for cell in cells}

    @cached_property
    def _variants(self) -> dict[str, Variant]:
        recovered: dict[str, list[str]] = {}
        for name, recovery in self.recoveries.items():
            for cell_id in {cell.id: None for pattern in recovery.cells for cell in self.matching(pattern)}:
                recovered.setdefault(cell_id, []).append(name)
        found = [Variant(cell, name) for key, cell in self._cells.items() for name in (NONE, *recovered.get(key, ()))]
        return {variant.id: variant for variant in found}

    def _seeds(self, method: str, compression: Compression) -> list[int]:
        """What neither draws random numbers nor is calibrated on a random sample has one result: s0."""
        allocation = self.allocations.get(compression.allocation)
        used = [registry.declared().get(method), allocation and allocation_registry.declared().get(allocation.method)]
        random = any(declaration is not None and not declaration.deterministic for declaration in used)
        return list(self.study.seeds) if random else [0]


def _control(model: str) -> Cell:
    return Cell(model, DENSE, DENSE, "full", 0)


def _level_path(level: str) -> str:
    try:
        return from_path(level).path
    except LevelError:
        return level


def _seed_name(seed: str | int) -> str:
    return f"s{seed}" if str(seed).isdecimal() else str(seed)


def _find(known: dict[str, Any], wanted: str, complaint: str) -> Any:
    try:
        return known[wanted]
    except KeyError:
        from palimpsest.checks.problems import did_you_mean, nearest

        raise PalimpsestError(f"{complaint} {wanted}.{did_you_mean(nearest(wanted, known))}") from None
