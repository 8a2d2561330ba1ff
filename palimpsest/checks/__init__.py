"""From a YAML file to a checked study, with all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

from palimpsest import settings
from palimpsest.checks import references
from palimpsest.checks.problems import KeyPath, Problem, StudyError, nested, show
from palimpsest.checks.translation import translated

MINIMAL = {
    "name": "first",
    "models": {"stories260K": {"source": "folder", "path": "models/stories260K"}},
    "compression": {"magnitude": {"levels": ["0.5", "2:4"]}},
    "tasks": ["perplexity_wikitext2"],
}
SECTIONS = (("models",), ("calibration",), ("allocation",), ("compression",), ("recovery",))


def checked(study: Any, file: str) -> settings.Study:
    """The study, or a StudyError with all its problems."""
    if not isinstance(study, Mapping) or not study:
        found = "the file is empty" if not study else f"the file holds {show(study)}, not keys and values"
        raise StudyError(file, [Problem((), f"{found}; a study has at least a name, models and tasks.", MINIMAL)])
    problems: list[Problem] = []
    plain = _plain(study, (), problems)
    try:
        result = settings.Study.model_validate(plain)
    except pydantic.ValidationError as error:
        problems += translated(error, plain)
        # Put right what is wrong so far, to see what else is; unless that replaces a whole section by an example.
        for problem in problems:
            plain = problem.repair(plain)
        try:
            result = settings.Study.model_validate(plain)
        except pydantic.ValidationError:
            raise StudyError(file, problems) from None
        if any(problem.path in SECTIONS for problem in problems):
            raise StudyError(file, problems) from None
    seen = {problem.path for problem in problems}
    problems += [more for more in references.problems(result) if more.path not in seen]
    if problems:
        raise StudyError(file, problems)
    return result


def read_yaml(file: str | Path) -> Any:
    """What a YAML file holds; says where it is not YAML, and finds keys written twice."""
    try:
        return yaml.load(Path(file).read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise StudyError(str(file), [Problem((), f"cannot be read: {error.strerror}.")]) from None
    except UnicodeDecodeError as error:
        raise StudyError(str(file), [Problem((), f"is not UTF-8 text: byte {error.start} is wrong.")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise StudyError(str(file), [Problem((), f"{where}: {error.problem or error.context}.")]) from None
    except yaml.YAMLError as error:
        raise StudyError(str(file), [Problem((), f"not YAML: {' '.join(str(error).split())}.")]) from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML where a key that is written twice is an error, not the last of the two."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if first := seen.get((key.tag, key.value)):
                text = f"the key {key.value} stands here a second time (first in line {first})"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen[key.tag, key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _plain(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
    """Plain dicts and lists; keys that are no texts are taken out and reported."""
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index), problems) for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    result = {}
    for key, item in value.items():
        if isinstance(key, str):
            result[key] = _plain(item, (*path, key), problems)
            continue
        if isinstance(key, bool):
            meant, words = ("on", "true, yes and on") if key else ("off", "false, no and off")
            text = f"YAML reads the unquoted keys {words} as the boolean {show(key)}. Quote it, or choose another name."
        else:
            meant, text = str(key), f"the key {show(key)} is not a text. Quote it."
        named = path in SECTIONS
        fix = nested((*path, meant), item) if named else None
        problems.append(Problem((*path, str(key)), text if named else f"unknown key. {text}", fix))
    return result
