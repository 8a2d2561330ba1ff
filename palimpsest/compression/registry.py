"""The methods: a decorator that declares one, and a reader of the declarations that never imports torch.

    @method("wanda", family="pruning", needs=("input_norms",), propagate=True)
    def wanda(weight, stats, level, *, alpha: Share = 0.5) -> CompressedWeight:
        \"""Drop the weights with the smallest |w|·‖x‖ within each output row (Sun et al., arXiv:2306.11695).\"""

A function in a module of the folder `methods` with that decorator is a method; its arguments are literals, its
options are its keyword-only parameters, and its summary is the first line of its docstring. An option's annotation is
its range where it has one (ranges.py). A method that draws random numbers has a keyword-only parameter `seed`.
`formula` and `cost` are for docs/methods.md.
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
from palimpsest.compression.ranges import Range
from palimpsest.levels import EXAMPLES, FORMATS, Level
from palimpsest.provenance import PalimpsestError

STATISTICS = {  # what a method may need to know of its inputs; statistics.py has them under the same names
    "input_norms": "‖X_j‖, the Euclidean norm of each input channel",
    "input_means": "E[x_j]",
    "input_magnitudes": "E[|x_j|]",
    "input_peaks": "max |x_j|",
    "gram": "E[xxᵀ], the second moments of the inputs",
    "sample_means": "E[x] of each calibration row",
    "fisher": "E[(∂L/∂W)²], L the loss of one row: one backward pass a row through the whole model",
}
LEVELS = {  # by family
    "pruning": ("sparsity", "n:m"),
    "quantization": ("bits",),
    "low rank": ("kept share", "rank share"),
}

METHODS = Path(__file__).parent / "methods"
EXAMPLE = '@method("wanda", family="pruning", needs=("input_norms",))'

_functions: dict[str, Callable] = {}


@dataclass(frozen=True)
class Declaration:
    """What is known of a method without importing it."""

    name: str
    family: str
    needs: tuple[str, ...]  # statistics of the inputs; empty for a method that looks at weights only
    levels: tuple[str, ...]  # level syntaxes
    formats: tuple[str, ...]  # the number formats that it takes, where it takes levels of that kind
    propagate: bool  # its default: is a block calibrated on the outputs of compressed blocks?
    version: str
    summary: str
    options: dict[str, Any] = field(hash=False)  # name -> default
    ranges: dict[str, Range] = field(hash=False)  # name -> what is allowed, of the options that are not free
    seeded: bool  # draws random numbers itself
    module: str
    formula: str = ""
    cost: str = ""
    notes: str = ""  # what the docstring says after its first line
    coupled: bool = False  # what it does to one matrix others must follow: it compresses whole blocks (structured.py)
    allocation: str = ""  # the allocation that is part of it: without one, or another, it makes no cell

    @property
    def deterministic(self) -> bool:
        """No randomness reaches it: neither its own nor that of a calibration sample. Then there is only seed 0."""
        return not self.seeded and not self.needs

    @property
    def examples(self) -> dict[str, tuple[str, ...]]:
        """Level syntax -> examples of levels that the method takes."""
        return {syntax: self.formats if syntax == "format" else EXAMPLES[syntax] for syntax in self.levels}

    def takes(self, level: Level) -> bool:
        """Whether this is a level of the method."""
        return level.syntax in self.levels and (level.syntax != "format" or level.text in self.formats)


def method(
    name: str,
    *,
    family: str,
    needs: tuple[str, ...] = (),
    levels: tuple[str, ...] | None = None,
    formats: tuple[str, ...] = (),
    propagate: bool = False,
    version: str = "1",
    summary: str | None = None,
    formula: str = "",
    cost: str = "",
    coupled: bool = False,
    allocation: str = "",
) -> Callable[[Callable], Callable]:
    """Register a function as the method `name`. `levels` and `summary` default to the family's and the docstring's."""

    def register(function: Callable) -> Callable:
        _functions[name] = function
        return function

    return register


@functools.cache
def declared() -> dict[str, Declaration]:
    """All methods by name, read from the sources in the folder `methods`."""
    return {found.name: _declaration(found) for found in declarations.find(METHODS, "method", EXAMPLE)}


def declaration(name: str) -> Declaration:
    """The declaration of one method; an error names the nearest known one."""
    known = declared()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise PalimpsestError(f"There is no compression method {name!r}.{hint} Known: {', '.join(sorted(known))}.")
    return known[name]


def function(name: str) -> Callable:
    """The function of the method `name` (imports torch)."""
    importlib.import_module(declaration(name).module)
    return _functions[name]


def complete_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` with the defaults filled in; PalimpsestError on an unknown option or a value of the wrong type."""
    found = declaration(name)
    return declarations.complete(name, found.options, found.ranges, options)


def methods() -> dict[str, dict[str, Any]]:
    """Each method's summary, family, levels (syntax -> examples), needs and options with their defaults."""
    return {
        name: {
            "summary": found.summary,
            "family": found.family,
            "levels": found.examples,
            "needs": found.needs,
            "options": dict(found.options),
            "propagate": found.propagate,
            "version": found.version,
            "formula": found.formula,
            "cost": found.cost,
        }
        for name, found in sorted(declared().items())
    }


def _declaration(found: declarations.Found) -> Declaration:
    given, family = found.given, found.given.get("family", "")
    known = {"needs": STATISTICS, "levels": EXAMPLES, "formats": FORMATS}
    listed = [(value, allowed) for key, allowed in known.items() for value in given.get(key) or ()]
    for value, allowed in [(family, LEVELS), *listed]:
        if value not in allowed:
            raise PalimpsestError(f"{found.place}: {found.name}: {value!r} is none of {', '.join(allowed)}.")
    levels, formats = tuple(given.get("levels") or LEVELS[family]), tuple(given.get("formats", ()))
    if ("format" in levels) != bool(formats):
        raise PalimpsestError(
            f"{found.place}: {found.name}: a method that takes number formats names them, and no other does: write "
            'e.g. levels=("format",), formats=("nf4",).'
        )
    return Declaration(
        name=found.name,
        family=family,
        needs=tuple(given.get("needs", ())),
        levels=levels,
        formats=formats,
        propagate=given.get("propagate", False),
        version=str(given.get("version", "1")),
        summary=found.summary,
        options=found.options,
        ranges=found.ranges,
        seeded=found.seeded,
        module=f"palimpsest.compression.methods.{found.module}",
        formula=given.get("formula", ""),
        cost=given.get("cost", ""),
        notes=found.notes,
        coupled=given.get("coupled", False),
        allocation=given.get("allocation", ""),
    )
