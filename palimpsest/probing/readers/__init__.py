"""Where the rows of a probe come from. A reader takes a folder (of PALIMPSEST_DATA) and the probe's definition, and
yields rows of its kind, each with its file and line. It is a function in the module of its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable

READERS = ("senteval", "conllu", "spans", "truth")


def reader(name: str) -> Callable:
    """`reader(folder, definition)` yields (place, row)."""
    return getattr(importlib.import_module(f"palimpsest.probing.readers.{name}"), name)
