"""Questions to an assistant, with one turn or several: MT-Bench and Vicuna-bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, json_lines
from palimpsest.provenance import PalimpsestError


def chat(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a turn. A later turn names in `after` the row before it, whose answer is then put into `answered`, and has
    that row's question as `first`. One conversation is one `passage`, its category the subject; the subset is the turn,
    or the category where every conversation has one turn."""
    for entry in settings["files"]:
        lines = list(json_lines(folder / entry["file"]))
        conversations = [(place, line, _turns(place, line)) for place, line in lines]
        several = any(len(turns) > 1 for _, _, turns in conversations)
        for place, line, turns in conversations:
            number, category = str(line["question_id"]), str(line.get("category", ""))
            for turn, question in enumerate(turns, 1):
                after = f"{number}/{turn - 1}" if turn > 1 else ""
                row = {"id": f"{number}/{turn}", "turn": turn, "after": after, "first": turns[0], "answered": ""}
                row |= {"question": question, "passage": number, "subject": category}
                yield place, row | {"subset": f"turn {turn}" if several else category}


def _turns(place: str, line: dict[str, Any]) -> list[str]:
    turns = line.get("turns", [line.get("text")])
    if "question_id" not in line or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise PalimpsestError(
            f"{place}: a question has a `question_id`, and `turns` (a list of texts) or `text`; this has "
            f"{', '.join(sorted(line))}, and none of them may be empty."
        )
    if len(turns) > 2:
        raise PalimpsestError(f"{place}: {len(turns)} turns; conversations of one or two turns are read.")
    return turns
