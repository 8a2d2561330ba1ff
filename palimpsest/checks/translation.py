"""Pydantic's complaints in our words: what stands there, what is allowed, and YAML that works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic

from palimpsest import settings
from palimpsest.checks import labels, shapes
from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, get, listing, nearest, nested, show
from palimpsest.levels import Level, LevelError, parse

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping of names to values",
    "model": "a mapping of keys to values",
}
BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
MISSING = "this key is missing."
NAME_RULE = "a name becomes part of paths: up to 64 letters, digits, '.', '_' and '-', first a letter or a digit"


def translated(error: pydantic.ValidationError, study: dict[str, Any]) -> list[Problem]:
    """A problem for each error; a missing key that another one's misspelling explains is none of its own."""
    problems = [translate(one, study) for one in error.errors(include_url=False)]
    explained = [problem.fix for problem in problems if "unknown key" in problem.text and problem.fix]
    return [
        problem
        for problem in problems
        if problem.text != MISSING or all(get(fix, problem.path) is None for fix in explained)
    ]


def translate(error: Mapping[str, Any], study: dict[str, Any]) -> Problem:
    """One of pydantic's errors, in our words."""
    path, expected, parent = shapes.follow(error["loc"])
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    shown = show(value)

    def replace(replacement: Any) -> dict[str, Any]:
        return _fix(path, replacement, study)

    if "[key]" in error["loc"] and kind == "literal_error":
        text = f"unknown kind; there are {context['expected'].replace(' or ', ', ')}."
        return Problem(path, text, nested(path[:-1], settings.World().mix))
    if "[key]" in error["loc"]:
        entry = get(study, path)
        name = settings.slug(str(path[-1]))
        return Problem(path, f"{NAME_RULE}.", nested((*path[:-1], name), entry))
    if kind == "extra_forbidden":
        return _unknown_key(path, parent, value, study)
    if kind == "missing":
        return Problem(path, MISSING, replace(shapes.example(expected)))
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _source(path, shapes.members(expected), value)
    if kind == "literal_error":
        allowed = shapes.literals(expected)
        near = nearest(value, allowed)
        text = f"{shown} is not one of {listing(allowed)}.{did_you_mean(near)}"
        return Problem(path, text, replace(near or allowed[0]))
    if kind == "level":
        return Problem(path, context["message"], _fix_levels(path, study))
    if kind == "heads":
        return Problem((*path, "hidden_size"), f"{error['msg']}.", nested((*path, "hidden_size"), context["meant"]))
    if kind == "mix":
        return Problem(path, f"{error['msg']}.", nested(path, settings.World().mix))
    if kind == "string_pattern_mismatch":
        if context["pattern"] == settings.NAME:
            return Problem(path, f"{shown}: {NAME_RULE}.", replace(settings.slug(value)))
        text = "is not a commit of 40 hexadecimal digits; a branch or a short digest can change its meaning"
        text = text if path[-1] == "revision" else f"does not match {context['pattern']}"
        return Problem(path, f"{shown} {text}.", replace(shapes.example(expected)))
    good = shapes.repaired(expected, value)
    if kind == "too_short" or kind == "string_too_short":
        return Problem(path, "is empty; at least one is needed.", replace(shapes.example(expected)))
    for ending in ("_type", "_parsing", "_from_float"):
        if kind.endswith(ending):
            stem = kind.removesuffix(ending).removesuffix("_attributes").removesuffix("_instance")
            what = KINDS.get(stem, error["msg"].lower())
            return Problem(path, f"{shown} is not {what}.", replace(good))
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        return Problem(path, f"{shown} is out of range: it must be {words} {context[name]}.", replace(good))
    return Problem(path, f"{shown}: {error['msg']}.", replace(good))


def _source(path: KeyPath, sources: Mapping[str, Any], value: Mapping[str, Any]) -> Problem:
    """A model whose `source` is missing or unknown."""
    known = {tag: shapes.bare(model).model_fields for tag, model in sources.items()}
    tag = value.get("source")
    near = nearest(tag, sources) if tag is not None else None
    choice = near or max(known, key=lambda tag: len(known[tag].keys() & value.keys()))
    model = shapes.example(sources[choice])
    said = f"{show(tag)} is not one of {listing(sources)}." if "source" in value else MISSING
    good = {key: value[key] for key in model if key in value and key != "source"}
    return Problem((*path, "source"), said + did_you_mean(near), nested(path, model | good))


def _unknown_key(path: KeyPath, parent: Any, value: Any, study: dict[str, Any]) -> Problem:
    fields = {name: shapes.annotation(parent, name) for name in parent.model_fields}
    here = get(study, path[:-1])
    near = nearest(path[-1], [name for name in fields if name not in here])
    text = f"unknown key. Allowed here: {listing(fields)}.{did_you_mean(near)}"
    if near:
        return Problem(path, text, _fix((*path[:-1], near), shapes.repaired(fields[near], value), study))
    rest = {name: here[name] for name in here if name in fields}
    text += " Leave it out."
    return Problem(
        path, text, nested(path[:-1], rest) if rest and shapes.valid(parent, rest) and len(path) > 1 else None
    )


def _fix(path: KeyPath, replacement: Any, study: dict[str, Any]) -> dict[str, Any]:
    """A piece of a study with `replacement` at `path`; lists are given whole, and levels suit their method."""
    if path[0] == "compression" and path[2:3] in ((), ("levels",)) and len(path) > 1:
        return _fix_levels(path, study)
    for depth, part in enumerate(path):
        if isinstance(part, int):
            items = list(get(study, path[:depth]))
            items[part] = replacement
            _, expected, _ = shapes.follow(path[: depth + 1])
            return nested(path[:depth], [item for item in items if shapes.valid(expected, item)] or [replacement])
    return nested(path, replacement)


def _fix_levels(path: KeyPath, study: dict[str, Any]) -> dict[str, Any]:
    """A label's levels: what was meant in place of what is no level, without what its method does not take."""
    entry = get(study, path[:2])
    written = get(entry, ("levels",))
    written = written if isinstance(written, list) else entry if isinstance(entry, list) else [written]
    declaration = labels.declaration(get(entry, ("method",)) or path[1])
    levels = []
    for item in written:
        level = _level_or_meant(item)
        if level and level.text not in levels and (declaration is None or declaration.takes(level)):
            levels.append(level.text)
    return nested((*path[:2], "levels"), levels or labels.level_examples(declaration))


def _level_or_meant(value: Any) -> Level | None:
    try:
        return parse(value)
    except LevelError as error:
        return parse(error.meant) if error.meant else None
