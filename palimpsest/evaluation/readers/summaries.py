"""News stories with their highlights, as CNN/DailyMail's `.story` files have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, find, read_text
from palimpsest.evaluation.scorers.words import words
from palimpsest.provenance import PalimpsestError

HIGHLIGHT = "@highlight"
NUMBER = r"\d[\d,.:]*(?<![,.:])"
NAME = r"[A-Z][\w’'-]*(?:\.(?:[A-Z]\.?)+)?"


def summaries(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a story: `question` is the `instruction` and the story without its highlights, `answer` the highlights,
    `facts` what these name. The subset is the folder that the story lies in, by its length."""
    for name in settings["files"]:
        for path in find(folder / name, "*.story"):
            story, *highlights = (part.strip() for part in read_text(path).split(HIGHLIGHT))
            if not story or not any(highlights):
                raise PalimpsestError(f"{path}: no text before, or none after, {HIGHLIGHT!r}; a story has both.")
            highlights = [highlight for highlight in highlights if highlight]
            row = {"id": f"{path.parent.name}/{path.stem}", "subset": path.parent.name}
            row["question"] = f"{settings['instruction']}\n\n{story}"
            yield str(path), row | {"answer": "\n".join(highlights), "facts": facts(highlights, story)}


def facts(highlights: list[str], story: str) -> list[str]:
    """The numbers and the capitalized words of the highlights, each once. The first word of a highlight, which is
    capitalized in any case, is one only where the story has it so within a sentence."""
    found: dict[str, None] = {}
    for highlight in highlights:
        for match in re.finditer(rf"{NUMBER}|\b{NAME}", highlight):
            fact = match[0].removesuffix("'s").removesuffix("’s")
            begins = not highlight[: match.start()].strip("\"'“‘ ")
            if fact[0].isdigit() or not begins or re.search(rf"[a-z,] {re.escape(fact)}\b", story):
                found[fact] = None
    return [fact for fact in found if words(fact)]
