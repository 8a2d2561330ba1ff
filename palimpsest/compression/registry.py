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

import ast
import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palimpsest.compression.ranges import RANGES, Range
from palimpsest.levels import EXAMPLES
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

_functions: dict[str, Callable] = {}


@dataclass(frozen=True)
class Declaration:
    """What is known of a method without importing it."""

    name: str
    family: str
    needs: tuple[str, ...]  # statistics of the inputs; empty for a method that looks at weights only
    levels: tuple[str, ...]  # level syntaxes
    propagate: bool  # its default: is a block calibrated on the outputs of compressed blocks?
    version: str
    summary: str
    options: dict[str, Any] = field(hash=False)  # name -> default
    ranges: dict[str, Range] = field(hash=False)  # name -> what is allowed, of the options that are not free
    seeded: bool  # draws random numbers itself
    module: str
    formula: str = ""
    cost: str = ""

    @property
    def deterministic(self) -> bool:
        """No randomness reaches it: neither its own nor that of a calibration sample. Then there is only seed 0."""
        return not self.seeded and not self.needs


def method(
    name: str,
    *,
    family: str,
    needs: tuple[str, ...] = (),
    levels: tuple[str, ...] | None = None,
    propagate: bool = False,
    version: str = "1",
    summary: str | None = None,
    formula: str = "",
    cost: str = "",
) -> Callable[[Callable], Callable]:
    """Register a function as the method `name`. `levels` and `summary` default to the family's and the docstring's."""

    def register(function: Callable) -> Callable:
        _functions[name] = function
        return function

    return register


@functools.cache
def declared() -> dict[str, Declaration]:
    """All methods by name, read from the sources in the folder `methods`."""
    found: dict[str, Declaration] = {}
    for file in sorted(METHODS.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "\n@method(" not in text:
            continue
        for node in ast.parse(text).body:
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "method":
                    declaration = _read(file, node, call)
                    if declaration.name in found:
                        raise PalimpsestError(
                            f"{file}:{node.lineno}: the method {declaration.name!r} is declared twice."
                        )
                    found[declaration.name] = declaration
    return found


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
    known = found.options
    for key, value in options.items():
        if key not in known:
            allowed = ", ".join(f"{option}={default!r}" for option, default in sorted(known.items())) or "none"
            raise PalimpsestError(f"{name} has no option {key!r}. Its options and their defaults: {allowed}.")
        expected = type(known[key])
        number = expected in (int, float) and isinstance(value, (int, expected)) and not isinstance(value, bool)
        if not number and (expected in (int, float) or not isinstance(value, expected)):
            raise PalimpsestError(
                f"{name}: {key} is {value!r}; write a {expected.__name__}, e.g. {key}: {known[key]!r}."
            )
        allowed = found.ranges.get(key)
        if allowed and not allowed.contains(value):
            raise PalimpsestError(f"{name}: {key} is {value!r}; it is {allowed.text}, e.g. {key}: {known[key]!r}.")
    return known | dict(options)


def methods() -> dict[str, dict[str, Any]]:
    """Each method's summary, family, levels (syntax -> examples), needs and options with their defaults."""
    return {
        name: {
            "summary": found.summary,
            "family": found.family,
            "levels": {syntax: EXAMPLES[syntax] for syntax in found.levels},
            "needs": found.needs,
            "options": dict(found.options),
            "propagate": found.propagate,
            "version": found.version,
            "formula": found.formula,
            "cost": found.cost,
        }
        for name, found in sorted(declared().items())
    }


def _read(file: Path, node: ast.FunctionDef, call: ast.Call) -> Declaration:
    try:
        name = ast.literal_eval(call.args[0])
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        parameters = {
            parameter.arg: ast.literal_eval(default) if default is not None else None
            for parameter, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        }
        ranges = {
            parameter.arg: RANGES[parameter.annotation.id]
            for parameter in node.args.kwonlyargs
            if isinstance(parameter.annotation, ast.Name) and parameter.annotation.id in RANGES
        }
    except (ValueError, IndexError):
        raise PalimpsestError(
            f"{file}:{call.lineno}: what @method says, and the defaults of the options, must be literals: they are "
            'read without running the module. Write e.g. @method("wanda", family="pruning", needs=("input_norms",)).'
        ) from None
    family = given.get("family", "")
    for value, allowed in ((family, LEVELS), *((need, STATISTICS) for need in given.get("needs", ()))):
        if value not in allowed:
            raise PalimpsestError(f"{file}:{call.lineno}: {name}: {value!r} is none of {', '.join(allowed)}.")
    return Declaration(
        name=name,
        family=family,
        needs=tuple(given.get("needs", ())),
        levels=tuple(given.get("levels") or LEVELS[family]),
        propagate=given.get("propagate", False),
        version=str(given.get("version", "1")),
        summary=given.get("summary") or (ast.get_docstring(node) or "").split("\n")[0],
        options={key: default for key, default in parameters.items() if key != "seed"},
        ranges=ranges,
        seeded="seed" in parameters,
        module=f"palimpsest.compression.methods.{file.stem}",
        formula=given.get("formula", ""),
        cost=given.get("cost", ""),
    )
