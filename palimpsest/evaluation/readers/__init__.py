"""Where the rows of a task come from. A reader takes a folder (of PALIMPSEST_DATA or of the hub) and the task's
settings, `metadata.palimpsest`, and yields rows with their file and line."""

from __future__ import annotations

from palimpsest.evaluation.readers.blimp import blimp
from palimpsest.evaluation.readers.chat import chat
from palimpsest.evaluation.readers.factoid import factoid, freebaseqa, triviaqa
from palimpsest.evaluation.readers.gsm8k import gsm8k
from palimpsest.evaluation.readers.plain import jsonl, text
from palimpsest.evaluation.readers.summaries import summaries

GENERATED = {
    "factoid": factoid, "freebaseqa": freebaseqa, "triviaqa": triviaqa, "gsm8k": gsm8k, "summaries": summaries,
    "chat": chat,
}  # fmt: skip
READERS = {"jsonl": jsonl, "blimp": blimp, "text": text} | GENERATED
