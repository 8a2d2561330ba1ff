"""Labels: methods that exist, levels and options they take, calibrations and models they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, listing, nearest, nested, show, twice
from palimpsest.checks.worlds import world_text
from palimpsest.compression import registry
from palimpsest.compression.allocation import registry as allocation_registry
from palimpsest.compression.ranges import Range
from palimpsest.grid import DENSE
from palimpsest.levels import EXAMPLES, parse
from palimpsest.settings import NAME, Study


def declaration(method: str) -> registry.Declaration | None:
    return registry.declared().get(method)


def level_examples(declared: registry.Declaration | None) -> list[str]:
    """Levels that a method takes."""
    examples = declared.examples if declared else {syntax: EXAMPLES[syntax] for syntax in ("sparsity", "n:m")}
    first, *others = examples.values()
    return [*first[:2], *(some[0] for some in others)]


def label_problems(study: Study) -> Iterator[Problem]:
    methods = registry.declared()
    for label, compression in study.compression.items():
        path, method = ("compression", label), compression.method or label
        if label.lower() == DENSE:
            continue
        yield from _compressed_models(study, label)
        if method not in methods:
            yield _unknown_method(path, method, compression.method, methods)
            continue
        declared = methods[method]
        yield from _levels(path, method, declared, compression.levels)
        yield from option_problems((*path, "options"), method, declared.options, compression.options, declared.ranges)
        yield from _needed_calibration(study, path, method, declared, compression.calibration)
    yield from _swept(study)


def _compressed_models(study: Study, label: str) -> Iterator[Problem]:
    path, models = ("compression", label, "models"), study.compression[label].models or []
    compressed = [name for name, model in study.models.items() if model.compress]
    yield from twice(path, models)
    for index, name in enumerate(models):
        if name not in study.models:
            near = nearest(name, compressed)
            text = f"no model {show(name)} in this study. Models: {listing(study.models)}.{did_you_mean(near)}"
            yield Problem((*path, index), text, nested(path, [near or next(iter(compressed), name)]))
        elif name not in compressed:
            text = f"{name} is a control (compress: false)."
            yield Problem((*path, index), text, nested(path, compressed) if compressed else None)


def _unknown_method(path: KeyPath, method: str, written: str | None, methods: Mapping[str, Any]) -> Problem:
    near = nearest(method, methods) or _method_in(method, methods)
    said = f"unknown method {show(method)}. Methods: {listing(methods)}.{did_you_mean(near)}"
    if written is None:
        said = f"this key is missing, and the label {show(method)} is no method. {said.partition('. ')[2]}"
    choice = near or next(iter(methods))
    return Problem((*path, "method"), said, nested(path, {"method": choice, "levels": level_examples(methods[choice])}))


def _method_in(label: str, methods: Iterable[str]) -> str | None:
    """`gptq` of the label `gptq-actorder`."""
    return max((name for name in methods if label.lower().startswith(name)), key=len, default=None)


def _levels(path: KeyPath, method: str, declared: registry.Declaration, levels: list[str]) -> Iterator[Problem]:
    parsed = [parse(level) for level in levels]
    taken = [level.text for level in parsed if declared.takes(level)]
    fix = nested((*path, "levels"), list(dict.fromkeys(taken)) or level_examples(declared))
    for index, (level, found) in enumerate(zip(levels, parsed, strict=True)):
        place = (*path, "levels", index)
        if found.syntax == "full":
            yield Problem(place, "full is the level of the dense control, which every study has.", fix)
        elif not declared.takes(found):
            takes = listing(f'{kind} "{some[0]}"' for kind, some in declared.examples.items())
            kind = f"a level of kind {found.syntax}"
            yield Problem(place, f'{method} does not take "{level}" ({kind}); it takes {takes}.', fix)
        elif level in levels[:index]:
            yield Problem(place, f'"{level}" stands twice (levels[{levels.index(level)}] is the same level).', fix)


def option_problems(
    path: KeyPath,
    method: str,
    known: Mapping[str, Any],
    options: Mapping[str, Any],
    ranges: Mapping[str, Range] | None = None,
) -> Iterator[Problem]:
    """Options that `method` does not have, of another kind than their defaults in `known`, or out of their `ranges`."""
    for name, value in options.items():
        allowed = (ranges or {}).get(name)
        if name not in known:
            near = nearest(name, known)
            takes = (
                f"it takes {listing(f'{key} ({show(default)})' for key, default in known.items())}"
                if known
                else "it takes none"
            )
            fix = nested((*path, near), value if _same_kind(known[near], value) else known[near]) if near else None
            advice = did_you_mean(near) or " Leave it out."
            yield Problem((*path, name), f"{method} has no option {show(name)}; {takes}.{advice}", fix)
        elif not _same_kind(known[name], value) and not (allowed and type(value) in allowed.kinds):
            text = f"{show(value)} is not of the kind of {name}'s default, {show(known[name])}."
            yield Problem((*path, name), text, nested((*path, name), _good(known[name], allowed, value)))
        elif allowed and not allowed.contains(value):
            text = f"{show(value)} is out of range: {name} is {allowed.text}."
            yield Problem((*path, name), text, nested((*path, name), _good(known[name], allowed, value)))


def _good(default: Any, allowed: Range | None, value: Any) -> Any:
    """What an option was meant to be: of a list what is in range, a single item as a list; else its default."""
    items = value if isinstance(value, list) else [value]
    if isinstance(default, list) and allowed and (good := [item for item in items if allowed.contains([item])]):
        return good
    return default or (allowed and allowed.example) or default


def _same_kind(default: Any, value: Any) -> bool:
    if isinstance(default, list) and isinstance(value, list):
        return not default or (bool(value) and all(type(item) is type(default[0]) for item in value))
    return default is None or type(value) is type(default) or (isinstance(default, float) and type(value) is int)


def _needed_calibration(
    study: Study, path: KeyPath, method: str, declared: registry.Declaration, written: str | list[str] | None
) -> Iterator[Problem]:
    path = (*path, "calibration")
    if written is not None and not declared.needs:
        yield Problem(path, f"{method} looks at no text: leave this key out.")
        return
    several = isinstance(written, list)
    names = written if several else [written]
    if several:
        yield from twice(path, names)
    for index, name in enumerate(names):
        if name is None or not study.calibration or name in study.calibration:
            continue
        near = nearest(name, study.calibration) or next(iter(study.calibration))
        text = f"no calibration {show(name)} in this study. Calibrations: {listing(study.calibration)}."
        good = dict.fromkeys([*names[:index], near, *names[index + 1 :]])
        fix = [other for other in good if other in study.calibration] if several else near
        yield Problem((*path, index) if several else path, text + did_you_mean(near), nested(path, fix))


def _swept(study: Study) -> Iterator[Problem]:
    """A label with a list of calibrations becomes labels that must be names, and nobody else's."""
    taken = {label.lower(): label for label in study.compression}
    for label, entry in study.compression.items():
        names = entry.calibration if isinstance(entry.calibration, list) else []
        for index, name in enumerate(names):
            made, path = f"{label}-{name}", ("compression", label, "calibration", index)
            if name not in study.calibration or name in names[:index]:
                continue  # which is said elsewhere
            if not re.match(NAME, made):
                yield Problem(path, f"the label would be {made}, and a name has up to 64 characters. Shorten either.")
            elif other := taken.get(made.lower()):
                yield Problem(path, f"the label would be {made}, and there is {other} already. Rename either.")
            taken.setdefault(made.lower(), made)


def _needs(methods: Mapping[str, registry.Declaration], method: str) -> bool:
    return method in methods and bool(methods[method].needs)


def _looks(method: str) -> bool:
    declared = allocation_registry.declared().get(method)
    return declared is not None and declared.calibrated


def calibration_problems(study: Study) -> Iterator[Problem]:
    methods = registry.declared()
    needing = [label for label, entry in study.compression.items() if _needs(methods, entry.method or label)]
    looking = [name for name, entry in study.allocations.items() if _looks(entry.method)]
    if (needing or looking) and not study.calibration:
        text = (
            f"this key is missing: {listing(needing)} need statistics of their inputs, from a calibration text."
            if needing
            else f"this key is missing: the allocation {looking[0]} looks at the model's answers to a calibration text."
        )
        named = next((study.compression[label].calibration for label in needing), None) or "generic"
        name = named[0] if isinstance(named, list) else named
        yield Problem(("calibration",), text, {"calibration": {name: _some_calibration(study)}})
    for name, calibration in study.calibration.items():
        yield from world_text(study, ("calibration", name, "text"), calibration.text)


def _some_calibration(study: Study) -> dict[str, Any]:
    text = "generic" if study.world else {"path": "data/tinystories/train.txt"}
    return {"text": text, "samples": 128, "length": 64}
