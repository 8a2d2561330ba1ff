"""The kinds of probe. Each is a module with two functions:

    extract(model, tokenizer, rows, options) -> {name: tensor}        what is kept of a model's states on these rows
    outcomes(features, rows, options) -> Iterator[Outcome]            what classifiers read from them

`rows` are those of the probe's data (data.py), `options` what the study says of it (settings.Probe).
"""

from __future__ import annotations

import importlib
from types import ModuleType

KINDS = {
    "question": "questions",
    "sentence": "sentences",
    "word": "words",
    "edge": "edges",
    "tree": "trees",
    "head": "heads",
}


def kind(name: str) -> ModuleType:
    """The module of a kind."""
    return importlib.import_module(f"palimpsest.probing.{KINDS[name]}")
