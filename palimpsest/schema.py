"""What is generated: the JSON schema and the reference of every key from settings/, the methods from theirs."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from palimpsest import settings
from palimpsest.checks.problems import show
from palimpsest.checks.shapes import annotation, bare, example, is_model, literals, members
from palimpsest.compression.allocation.manual import manual as allocations
from palimpsest.compression.manual import manual
from palimpsest.provenance import PalimpsestError, atomic_file
from palimpsest.recovery.manual import manual as recoveries

ROOT = Path(__file__).parent.parent
ENTRIES = {
    "models": "model", "calibration": "name", "allocation": "name", "compression": "label", "recovery": "name",
    "data": "task", "probes": "probe",
}  # fmt: skip
PREFACE = """# Every key of a study

Generated from `palimpsest/settings/` by `python -m palimpsest.settings --write`; do not edit. `config.yaml` is a
whole study with comments. `python -m palimpsest.settings FILE` checks a study without running it.

A *name* has letters, digits, `.`, `_` and `-`, and starts with a letter or a digit: it becomes part of paths. A *level*
is a string: sparsity `"0.5"`; `"2:4"`, 2 kept of every 4 (in paths `2-4`; quote it, since YAML reads an unquoted 2:4 as
the number 124); bits `"4"`, or `"4g128"` with a scale for every 128 weights; a format `"nf4"`, `"int8"`, `"w8a8"`; a
joint level `"0.5+4g128"`; a kept share of a matrix's parameters `"k0.8"`. Relative paths are looked for under
`PALIMPSEST_DATA`.

"""


def json_schema() -> dict[str, Any]:
    """The JSON schema of a study, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | settings.Study.model_json_schema()


def reference() -> str:
    """docs/config.md: every key with its type, default and meaning."""
    sections = [_section(heading, model) for heading, model in _models(settings.Study, "")]
    return PREFACE + "\n".join(sections)


def files() -> dict[Path, str]:
    """What is generated from the models -> its text."""
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    docs = ROOT / "docs"
    return {
        ROOT / "config.schema.json": schema,
        docs / "config.md": reference(),
        docs / "methods.md": manual(),
        docs / "allocations.md": allocations(),
        docs / "recoveries.md": recoveries(),
    }


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m palimpsest.settings",
        description="Check studies, or write what is generated from the models: JSON schema and reference of the keys.",
    )
    parser.add_argument("--write", action="store_true", help="write config.schema.json and docs/config.md")
    parser.add_argument("study", nargs="*", help="study files to check")
    arguments = parser.parse_args()
    if arguments.write:
        for path, text in files().items():
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    for study in arguments.study:
        try:
            settings.read(study)
        except PalimpsestError as error:
            parser.exit(1, f"{error}\n")
        print(f"{study}: in order")


def _models(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every mapping of a study with its place, from the outside in."""
    yield path, model
    for name in model.model_fields:
        place = f"{path}.{name}" if path else name
        kind = bare(annotation(model, name))
        if name in ENTRIES and typing.get_origin(kind) is dict:
            place, kind = f"{place}.<{ENTRIES[name]}>", bare(typing.get_args(kind)[1])
        for tag, member in (members(kind) or {"": kind}).items():
            member = bare(member)
            if is_model(member) and member not in (settings.TextFile, settings.TaskText):
                yield from _models(member, f"{place} (source: {tag})" if tag else place)


def _section(place: str, model: type[BaseModel]) -> str:
    lines = [f"## {place}" if place else "## The study", "", " ".join((model.__doc__ or "").split()), ""]
    lines += ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    for name, field in model.model_fields.items():
        kind = annotation(model, name)
        shown = f"`{show(example(kind))}`"
        if shown == _default(field) or (is_model(bare(kind)) and not field.is_required()):
            shown = ""
        cells = (f"`{name}`", _type(kind, field), _default(field), field.description, shown)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _default(field: Any) -> str:
    if field.is_required():
        return "**required**"
    default = field.get_default(call_default_factory=True)
    return "as below" if isinstance(default, BaseModel) else "none" if default is None else f"`{show(default)}`"


def _type(kind: Any, field: Any = None) -> str:
    """The type of a value and what is allowed, in words."""
    plain, metadata = bare(kind), getattr(field, "metadata", None) or getattr(kind, "__metadata__", ())
    if "kind" in members(plain):
        kinds = [f"`{text}`" for text in literals(members(plain)["kind"])]
        return "; or ".join(["one of " + ", ".join(kinds), "`{path: …}`", "`{task: …}`"][: len(members(plain))])
    if "list" in members(plain):
        return "name, or list of names"
    if typing.get_origin(plain) is typing.Literal:
        return "one of " + ", ".join(f"`{value}`" for value in literals(plain))
    if typing.get_origin(plain) is list:
        return f"list of {_type(typing.get_args(plain)[0])}"
    if typing.get_origin(plain) is dict and typing.get_origin(typing.get_args(plain)[0]) is typing.Literal:
        keys, value = typing.get_args(plain)
        return f"mapping of {', '.join(f'`{key}`' for key in literals(keys))} to {_type(value)}"
    if typing.get_origin(plain) is dict or is_model(plain) or members(plain):
        return "mapping"
    flat = [bound for data in metadata for bound in (data, *getattr(data, "metadata", ()))]
    if any(getattr(bound, "pattern", None) == settings.NAME for bound in flat):
        return "name"
    if any(getattr(bound, "func", None) is settings.as_level for bound in flat):
        return "level"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = [f"{word} {getattr(bound, key):g}" for key, word in words.items() for bound in flat if _number(bound, key)]
    name = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text"}.get(plain, "any value")
    return ", ".join([name, *bounds])


def _number(bound: Any, key: str) -> bool:
    return isinstance(getattr(bound, key, None), int | float)
