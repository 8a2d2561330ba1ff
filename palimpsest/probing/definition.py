"""Probes and sets of probes: the YAML files in `tasks/`. Plain Python: the checks of a study read them.

    probe: tree_depth                         set: probing_ewt
    kind: sentence                            probes: [sentence_length, tree_depth]
    source: folder                            summary: ten SentEval-style probes of gold trees
    path: data/probing_ewt
    reader: senteval
    file: tree_depth.txt
    summary: depth of the sentence's tree

A new probe is a new file. Further keys are its reader's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from palimpsest.provenance import PalimpsestError

TASKS = Path(__file__).parent / "tasks"
KINDS = ("sentence", "question", "word", "edge", "tree", "head")
SOURCES = ("world", "folder")


@functools.cache
def shipped() -> dict[str, dict[str, Any]]:
    """Every probe and set by its name."""
    return {path.stem: read(path) for path in sorted(TASKS.glob("*.yaml"))}


def probes() -> dict[str, dict[str, Any]]:
    """The probes that there are, without the sets."""
    return {name: said for name, said in shipped().items() if "probe" in said}


def members(name: str) -> list[str]:
    """The probes of a set; a probe itself."""
    return list(shipped()[name].get("probes", [name]))


def is_of_world(name: str) -> bool:
    """Whether a probe, or some probe of a set, reads the world."""
    return any(probes()[member]["source"] == "world" for member in members(name))


def read(path: Path) -> dict[str, Any]:
    """One file, checked."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PalimpsestError(f"{path}: not plain YAML ({' '.join(str(error).split())}).") from None
    for problem in problems(path.stem, said):
        raise PalimpsestError(f"{path}: {problem}")
    return said


def problems(name: str, said: Any) -> Iterator[str]:
    """What is wrong with a file, each with what would be right."""
    if not isinstance(said, Mapping) or ("probe" in said) == ("set" in said):
        yield f"it says neither `probe: {name}` nor `set: {name}`; write one of them."
        return
    key = "probe" if "probe" in said else "set"
    if said[key] != name:
        yield f"{key}: {said[key]!r}, but the file is named {name}. Write `{key}: {name}`."
    if not isinstance(said.get("summary"), str):
        yield "summary: say in one line what it reads."
    if key == "set":
        listed = said.get("probes")
        if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
            yield "probes: list the probes of the set, e.g. [sentence_length, tree_depth]."
        return
    if said.get("kind") not in KINDS:
        yield f"kind: {said.get('kind')!r} is none of {', '.join(KINDS)}."
    if said.get("source") not in SOURCES:
        yield f"source: {said.get('source')!r} is none of {', '.join(SOURCES)}."
    if said.get("source") == "folder":
        for needed in ("path", "reader"):
            if not isinstance(said.get(needed), str):
                yield f"{needed}: a probe from a folder needs `path:` (under PALIMPSEST_DATA) and `reader:`."
