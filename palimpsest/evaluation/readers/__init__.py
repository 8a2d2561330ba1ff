"""Where the rows of a task come from. A reader takes a folder (of PALIMPSEST_DATA or of the hub) and the task's
settings, `metadata.palimpsest`, and yields rows with their file and line."""

from __future__ import annotations

from palimpsest.evaluation.readers.blimp import blimp
from palimpsest.evaluation.readers.plain import jsonl, text

READERS = {"jsonl": jsonl, "blimp": blimp, "text": text}
