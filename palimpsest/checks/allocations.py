"""Allocations: names and options that exist, texts and methods that they look at, levels that they can share out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from palimpsest.checks.labels import option_problems
from palimpsest.checks.problems import KeyPath, Problem, did_you_mean, listing, nearest, nested, show
from palimpsest.compression import registry as compression
from palimpsest.compression.allocation import registry
from palimpsest.compression.allocation.modules import known as known_modules
from palimpsest.compression.allocation.modules import named
from palimpsest.compression.families import FAMILIES
from palimpsest.levels import Level, parse
from palimpsest.settings import Allocation, Compression, Study

TRAINED = "llama"  # the architecture of the models that are trained here


def allocation_problems(study: Study) -> Iterator[Problem]:
    known = registry.declared()
    for name, entry in study.allocation.items():
        path, method = ("allocation", name), entry.method or name
        if method not in known:
            yield _unknown(path, method, entry.method)
            continue
        declared, found = known[method], []
        found += option_problems((*path, "options"), method, declared.options, entry.options, declared.ranges)
        found += _modules(path, entry)
        yield from found or _missing_options(path, declared, entry)
        yield from _calibration(study, path, declared, entry.calibration)
        yield from _measured_with(path, declared, entry.measured_with)
    for label, compressed in study.compression.items():
        yield from _choice(label, compressed)
    used = [(label, entry.allocation) for label, entry in study.compression.items() if entry.allocation is not None]
    # Several labels that use an allocation find the same mistakes in it.
    yield from {problem.path: problem for label, name in used for problem in _label(study, label, name)}.values()


def _unknown(path: KeyPath, method: str, written: str | None) -> Problem:
    known = registry.declared()
    near = nearest(method, known)
    said = f"unknown allocation {show(method)}. Allocations: {listing(known)}.{did_you_mean(near)}"
    if written is None:
        said = f"this key is missing, and the name {show(method)} is no allocation. {said.partition('. ')[2]}"
    return Problem((*path, "method"), said, nested(path, _entry(near or "owl")))


def _entry(method: str) -> dict[str, Any]:
    """An entry of the section with that method, as messages paste it."""
    declared = registry.declared()[method]
    options = {key: declared.ranges[key].example for key in declared.needs[:1]}
    return {"method": method} | ({"options": options} if options else {})


def _modules(path: KeyPath, entry: Allocation) -> Iterator[Problem]:
    modules = entry.options.get("modules")
    if not isinstance(modules, list):
        return
    path, good = (*path, "options", "modules"), [module for module in modules if named(str(module), known_modules())]
    for index, module in enumerate(modules):
        if isinstance(module, str) and module not in good:
            ends = {name.rpartition(".")[2] for name in known_modules()}
            near = nearest(module, sorted(ends))
            text = f"no architecture has a module {show(module)}. There are: {listing(known_modules())}."
            fix = list(dict.fromkeys([*good, near] if near else good)) or ["q_proj"]
            yield Problem((*path, index), text + did_you_mean(near), nested(path, fix))


def _missing_options(path: KeyPath, declared: registry.Declaration, entry: Allocation) -> Iterator[Problem]:
    if declared.needs and not any(entry.options.get(key) for key in declared.needs):
        text = f"{declared.name} needs {' or '.join(declared.needs)}; with neither it compresses nothing."
        yield Problem((*path, "options"), text, nested((*path, "options"), _entry(declared.name)["options"]))


def _calibration(study: Study, path: KeyPath, declared: registry.Declaration, name: str | None) -> Iterator[Problem]:
    path = (*path, "calibration")
    if name is not None and not declared.calibrated:
        yield Problem(path, f"{declared.name} looks at no text: leave this key out.")
    elif name is not None and study.calibration and name not in study.calibration:
        near = nearest(name, study.calibration)
        text = f"no calibration {show(name)} in this study. Calibrations: {listing(study.calibration)}."
        yield Problem(path, text + did_you_mean(near), nested(path, near or next(iter(study.calibration))))


def _measured_with(path: KeyPath, declared: registry.Declaration, method: str | None) -> Iterator[Problem]:
    path, methods = (*path, "measured_with"), compression.declared()
    if method is None:
        return
    if not declared.measures:
        yield Problem(path, f"{declared.name} measures no matrix by a compression method: leave this key out.")
    elif method not in methods:
        near = nearest(method, methods)
        text = f"unknown compression method {show(method)}. Methods: {listing(methods)}.{did_you_mean(near)}"
        yield Problem(path, text, nested(path, near) if near else None)
    elif methods[method].coupled:
        yield Problem(path, f"{method} compresses whole blocks, not single matrices: leave this key out.")


def _label(study: Study, label: str, name: str) -> Iterator[Problem]:
    path, known = ("compression", label, "allocation"), registry.declared()
    if name not in study.allocation and name not in known:
        names = [*study.allocation, *(other for other in known if not known[other].needs)]
        near = nearest(name, names)
        text = f"no allocation {show(name)}. There are: {listing(dict.fromkeys(names))}.{did_you_mean(near)}"
        yield Problem(path, text, nested(path, near or registry.UNIFORM))
        return
    if name not in study.allocation and known[name].needs:
        text = f"{name} needs options ({' or '.join(known[name].needs)}): give it an entry of its own, and name that."
        fix = nested(("allocation", f"{name}-some"), _entry(name)) | nested(path, f"{name}-some")
        yield Problem(path, text, fix)
        return
    entry = study.allocations[name]
    if entry.method not in known or name.lower() == registry.UNIFORM:
        return  # which is said elsewhere
    declared, levels = known[entry.method], [parse(level) for level in study.compression[label].levels]
    budget = declared.meets_budget(entry.options)
    yield from _levels(path, declared, budget, levels)
    yield from _coupled(path, study.compression[label].method or label, declared, budget)
    yield from _measured_levels(name, declared, entry, levels)
    yield from _of_models(study, label, name, entry)


def _choice(label: str, entry: Compression) -> Iterator[Problem]:
    """A method that is a choice of matrices as well has no uniform cells."""
    declared = compression.declared().get(entry.method or label)
    if declared is not None and declared.allocation and entry.allocation in (None, registry.UNIFORM):
        path = ("compression", label, "allocation")
        text = f"{declared.name} is a choice of matrices as well: it goes with an allocation."
        yield Problem(path, text, nested(path, declared.allocation))


def _levels(path: KeyPath, declared: registry.Declaration, budget: bool, levels: list[Level]) -> Iterator[Problem]:
    formats = [level.text for level in levels if level.syntax == "format"]
    if budget and formats:
        text = (
            f"{declared.name} gives some matrices more and others less, and {formats[0]} has no levels above and below "
            f"it. With a format go {listing(name for name, one in registry.declared().items() if not one.budget)}."
        )
        yield Problem(path, text, nested(path, registry.UNIFORM))


def _coupled(path: KeyPath, method: str, declared: registry.Declaration, budget: bool) -> Iterator[Problem]:
    found = compression.declared().get(method)
    if found is not None and found.coupled and (budget or declared.measures):
        text = (
            f"{method} takes matrices of a block along with others, so {declared.name} cannot share out their levels."
        )
        yield Problem(path, text, nested(path, registry.UNIFORM))


def _measured_levels(
    name: str, declared: registry.Declaration, entry: Allocation, levels: list[Level]
) -> Iterator[Problem]:
    method = entry.measured_with
    if not declared.measures or method not in compression.declared() or compression.declared()[method].coupled:
        return
    for level in levels:
        if level.syntax != "full" and registry.measured_level(level, method) is None:
            text = f'{method} has no level "{level.text}", at which a label uses this allocation. Leave the key out: '
            yield Problem(("allocation", name, "measured_with"), f"{text}{registry.measure_for(level)} is taken then.")
            return


def _of_models(study: Study, label: str, name: str, entry: Allocation) -> Iterator[Problem]:
    """Modules and blocks that a model trained here does not have; what others have is seen when they are read."""
    options = ("allocation", name, "options")
    for model, trained in study.models.items():
        if (
            trained.source != "world"
            or not trained.compress
            or model not in (study.compression[label].models or [model])
        ):
            continue
        layers, last = FAMILIES[TRAINED].layers, trained.architecture.num_hidden_layers - 1
        for index, module in enumerate(_listed(entry, "modules", str)):
            if named(module, known_modules()) and not named(module, layers):
                text = f"{model} has no module {show(module)}. Its modules: {listing(layers)}."
                good = [other for other in entry.options["modules"] if named(other, layers)] or ["q_proj"]
                yield Problem((*options, "modules", index), text, nested((*options, "modules"), good))
        for index, block in enumerate(_listed(entry, "blocks", int)):
            if block > last:
                text = f"{model} has blocks 0 to {last}, and no block {block}."
                good = [other for other in entry.options["blocks"] if other <= last] or [last]
                yield Problem((*options, "blocks", index), text, nested((*options, "blocks"), good))


def _listed(entry: Allocation, option: str, kind: type) -> list[Any]:
    values = entry.options.get(option)
    return values if isinstance(values, list) and all(type(value) is kind for value in values) else []
