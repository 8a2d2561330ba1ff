"""Decorated functions, read from the sources of a folder without running them: methods and allocations alike.

What a decorator is given, and the defaults of the options, are literals; the options are the keyword-only parameters.
An option's annotation is its range where it has one (ranges.py). A function that draws random numbers has a
keyword-only parameter `seed`. The summary is the first line of the docstring. No torch here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest.compression.ranges import RANGES, Range
from palimpsest.provenance import PalimpsestError


@dataclass(frozen=True)
class Found:
    """A decorated function: `given` are the decorator's keyword arguments, `place` is its file and line."""

    name: str
    given: dict[str, Any]
    options: dict[str, Any]  # name -> default
    ranges: dict[str, Range]  # name -> what is allowed, of the options that are not free
    seeded: bool
    summary: str  # the first line of the docstring …
    notes: str  # … and the rest of it
    module: str  # the name of its file, without .py
    place: str


def find(folder: Path, decorator: str, example: str) -> Iterator[Found]:
    """Every function under `@decorator("name", ...)` in the modules of a folder; errors paste `example`."""
    names: set[str] = set()
    for file in sorted(folder.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if f"\n@{decorator}(" not in text:
            continue
        for node in ast.parse(text).body:
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == decorator:
                    found = _read(file, node, call, decorator, example)
                    if found.name in names:
                        raise PalimpsestError(
                            f"{file}:{node.lineno}: the {decorator} {found.name!r} is declared twice."
                        )
                    names.add(found.name)
                    yield found


def complete(
    name: str, known: Mapping[str, Any], ranges: Mapping[str, Range], options: Mapping[str, Any]
) -> dict[str, Any]:
    """`options` of `name` with the defaults filled in; PalimpsestError on one that is unknown, of the wrong type or out
    of its range."""
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
        allowed = ranges.get(key)
        if allowed and not allowed.contains(value):
            raise PalimpsestError(f"{name}: {key} is {value!r}; it is {allowed.text}, e.g. {key}: {known[key]!r}.")
    return dict(known) | dict(options)


def _read(file: Path, node: ast.FunctionDef, call: ast.Call, decorator: str, example: str) -> Found:
    try:
        name = ast.literal_eval(call.args[0])
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        parameters = {
            parameter.arg: ast.literal_eval(default) if default is not None else None
            for parameter, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        }
    except (ValueError, IndexError):
        raise PalimpsestError(
            f"{file}:{call.lineno}: what @{decorator} says, and the defaults of the options, must be literals: they "
            f"are read without running the module. Write e.g. {example}."
        ) from None
    summary, _, notes = (ast.get_docstring(node) or "").partition("\n")
    options = {key: list(default) if isinstance(default, tuple) else default for key, default in parameters.items()}
    return Found(
        name=name,
        given=given,
        options={key: default for key, default in options.items() if key != "seed"},
        ranges={
            parameter.arg: RANGES[parameter.annotation.id]
            for parameter in node.args.kwonlyargs
            if isinstance(parameter.annotation, ast.Name) and parameter.annotation.id in RANGES
        },
        seeded="seed" in parameters,
        summary=given.get("summary") or summary,
        notes=notes.strip(),
        module=file.stem,
        place=f"{file}:{call.lineno}",
    )
