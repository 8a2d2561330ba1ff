"""What is wrong with a study, said so that a person can put it right: place, value, what is allowed, YAML."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from palimpsest.provenance import PalimpsestError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """`text` says what is wrong at `path`; `fix` is a piece of a study, from its root, that would work in its place."""

    path: KeyPath
    text: str
    fix: Mapping[str, Any] | None = None

    def render(self, file: str) -> str:
        place = f"{key_path(self.path)}: " if self.path else ""
        lines = [f"{file}: {place}{self.text}"]
        if self.fix is not None:
            lines[0] += " Write e.g."
            lines += [f"    {line}" for line in to_yaml(self.fix).splitlines()]
        return "\n".join(lines)

    def repair(self, study: dict[str, Any]) -> dict[str, Any]:
        """A copy of `study` without what stands at `path`, and with `fix`."""
        study = copy.deepcopy(study)
        holder = get(study, self.path[:-1])
        if isinstance(holder, dict):
            for key in [key for key in holder if str(key) == self.path[-1]]:
                del holder[key]
        elif isinstance(holder, list) and self.path[-1] in range(len(holder)):
            del holder[self.path[-1]]
        return _merge(study, copy.deepcopy(dict(self.fix or {})))


class StudyError(PalimpsestError):
    """A study that cannot run. `problems` are all that were found."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file, self.problems = file, tuple(problems)
        count = len(self.problems)
        head = [] if count == 1 else [f"{file}: {count} problems in this study, nothing was started."]
        super().__init__("\n".join(head + [problem.render(file) for problem in self.problems]))


def key_path(path: KeyPath) -> str:
    """`compression.wanda.levels[2]`; odd keys are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if re.fullmatch(r"[\w-]+", part) else show(part))
    return text


def to_yaml(value: Mapping[str, Any]) -> str:
    """Block style outside, flow style inside."""
    style = None if any(isinstance(item, dict | list) for item in value.values()) else False
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=style, allow_unicode=True, width=100)


def show(value: Any) -> str:
    """A value as it stands in YAML, on one short line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 70 else text[:69] + "…"


def listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def nearest(name: Any, names: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, if any does."""
    import difflib

    by_lower = {known.lower(): known for known in names}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.55)
    return by_lower[found[0]] if found else None


def did_you_mean(near: str | None) -> str:
    return f" Did you mean {near}?" if near else ""


def nested(path: KeyPath, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for the path ("a", "b")."""
    for part in reversed(path):
        value = {part: value}
    return value


def get(mapping: Any, path: KeyPath) -> Any:
    """What stands at `path`, or None."""
    for part in path:
        try:
            mapping = mapping[part]
        except (KeyError, IndexError, TypeError):
            return None
    return mapping


def twice(path: KeyPath, values: list[Any]) -> Iterator[Problem]:
    """A problem for each value of a list that stands in it before."""
    once = list(dict.fromkeys(values))
    for index, value in enumerate(values):
        if value in values[:index]:
            yield Problem((*path, index), f"{show(value)} stands twice.", nested(path, once))


def _merge(study: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    for key, value in piece.items():
        both = isinstance(value, dict) and isinstance(study.get(key), dict)
        study[key] = _merge(study[key], value) if both else value
    return study
