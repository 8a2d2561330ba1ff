"""What only a study with a world has."""

from __future__ import annotations

from collections.abc import Iterator

from palimpsest.checks.problems import KeyPath, Problem, nested
from palimpsest.settings import RANDOM, Architecture, Study, TaskText, TextFile

WORLD = {"seed": 0, "people": 300}  # what messages paste


def trained_here(study: Study) -> list[str]:
    return [name for name, model in study.models.items() if model.source == "world"]


def architecture_of(study: Study, name: str) -> Architecture | None:
    """The shape of a model that is trained here, or derived from one that is; None where only its files say."""
    seen: list[str] = []
    while name in study.models and name not in seen:
        seen.append(name)
        model = study.models[name]
        if model.source == "world":
            return model.architecture
        name = getattr(model, "of", None)
    return None


def no_world(study: Study) -> bool:
    """Whether the study neither has a world nor forgot it (which is reported once, of its models)."""
    return study.world is None and not trained_here(study)


def world_text(study: Study, path: KeyPath, text: str | TextFile | TaskText | None) -> Iterator[Problem]:
    if isinstance(text, str) and text != RANDOM and no_world(study):
        said = f"{text} is a text of the world, and this study has none. Name a file, or give the study a world."
        yield Problem(path, said, nested(path, {"path": "data/tinystories/train.txt"}))
