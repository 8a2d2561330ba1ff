"""The allocations: a decorator that declares one, and what is known of them without importing torch.

    @allocation("owl", calibrated=True, budget=True)
    def owl(case: Case, *, outlier: Positive = 5.0, spread: Share = 0.08) -> dict[str, Level]:
        \"""Keep more where more weights are outliers ... (Yin et al., arXiv:2310.05175).\"""

A function in a module of the folder `methods` with that decorator is an allocation, declared as methods are
(declarations.py). It returns the level of each matrix; those that it leaves out stay dense.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palimpsest.compression import declarations
from palimpsest.compression import registry as compression
from palimpsest.compression.ranges import Range
from palimpsest.levels import Format, Joint, Level
from palimpsest.provenance import PalimpsestError

ALLOCATIONS = Path(__file__).parent / "methods"
EXAMPLE = '@allocation("owl", calibrated=True, budget=True)'
UNIFORM = "uniform"  # the default: every matrix has the level asked, which needs no file
WHOLE = "whole"  # the value of an option `budget` with which an allocation of some matrices meets the whole's

# The compression method by which matrices are measured if none is named: by the kind of the level.
MEASURES = {
    "sparsity": "wanda",
    "n:m": "wanda",
    "joint": "wanda",
    "bits": "rtn",
    "kept share": "svd-llm",
    "rank share": "svd",  # LASER's levels, and its factorization
}

_functions: dict[str, Callable] = {}


@dataclass(frozen=True)
class Declaration:
    """What is known of an allocation without importing it."""

    name: str
    calibrated: bool  # looks at a calibration, and so depends on its seed
    budget: bool  # shares out a budget: the matrices together cost what is asked, and a format is refused
    measures: bool  # compresses matrices by a method to see what they lose
    options: dict[str, Any] = field(hash=False)  # name -> default
    ranges: dict[str, Range] = field(hash=False)
    seeded: bool  # draws random numbers itself
    needs: tuple[str, ...]  # options of which at least one must be given
    version: str
    summary: str
    formula: str
    cost: str
    module: str
    notes: str = ""  # what the docstring says after its first line

    @property
    def deterministic(self) -> bool:
        """No randomness reaches it: there is only seed 0."""
        return not self.seeded and not self.calibrated

    def meets_budget(self, options: Mapping[str, Any]) -> bool:
        """Whether with these options the matrices together cost what is asked, whichever of them are compressed."""
        return self.budget or options.get("budget") == WHOLE


def allocation(
    name: str,
    *,
    calibrated: bool = False,
    budget: bool = False,
    measures: bool = False,
    needs: tuple[str, ...] = (),
    version: str = "1",
    formula: str = "",
    cost: str = "",
) -> Callable[[Callable], Callable]:
    """Register a function as the allocation `name`."""

    def register(function: Callable) -> Callable:
        _functions[name] = function
        return function

    return register


@functools.cache
def declared() -> dict[str, Declaration]:
    """All allocations by name, read from the sources in the folder `methods`."""
    return {found.name: _declaration(found) for found in declarations.find(ALLOCATIONS, "allocation", EXAMPLE)}


def declaration(name: str) -> Declaration:
    """The declaration of one allocation; an error names the nearest known one."""
    known = declared()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise PalimpsestError(f"There is no allocation {name!r}.{hint} Known: {', '.join(sorted(known))}.")
    return known[name]


def function(name: str) -> Callable:
    """The function of the allocation `name` (imports torch)."""
    importlib.import_module(declaration(name).module)
    return _functions[name]


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` with the defaults filled in; PalimpsestError on one that is unknown, wrong, or missing."""
    found = declaration(name)
    complete = declarations.complete(name, found.options, found.ranges, options)
    if found.needs and not any(complete[key] for key in found.needs):
        raise PalimpsestError(f"{name}: give {' or '.join(found.needs)}; with neither it compresses nothing.")
    return complete


def measure_for(level: Level, method: str | None = None) -> str | None:
    """The compression method by which matrices are measured at this level; None for a format that no method takes."""
    if method is None and isinstance(level, Format):
        return next((name for name, found in sorted(compression.declared().items()) if found.takes(level)), None)
    return method or MEASURES[level.syntax]


def measured_level(level: Level, method: str) -> Level | None:
    """The level at which `method` is measured: itself, or the pruning part of a joint one; None if it takes neither."""
    found = compression.declaration(method)
    if found.takes(level):
        return level
    return level.pruning if isinstance(level, Joint) and found.takes(level.pruning) else None


def _declaration(found: declarations.Found) -> Declaration:
    given = {"calibrated": False, "budget": False, "measures": False, "needs": (), "version": "1"} | found.given
    return Declaration(
        name=found.name,
        options=found.options,
        ranges=found.ranges,
        seeded=found.seeded,
        summary=found.summary,
        notes=found.notes,
        module=f"palimpsest.compression.allocation.methods.{found.module}",
        **{"formula": "", "cost": ""} | given,
    )
