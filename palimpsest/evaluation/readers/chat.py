"""Questions to an assistant, with one turn or several: MT-Bench and Vicuna-bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import Record, records
from palimpsest.provenance import PalimpsestError


def chat(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a turn. A later turn names in `after` the row before it, whose answer is then put into `answered`, and has
    that row's question as `first`. One conversation is one `passage`, its category the subject; the subset is the turn,
    or the category where every conversation has one turn."""
    conversations = [(record, _turns(record)) for record in records(folder, settings["files"])]
    several = any(len(turns) > 1 for _, turns in conversations)
    for record, turns in conversations:
        number, category = str(record.need("question_id")), str(record.get("category", ""))
        for turn, question in enumerate(turns, 1):
            row = {"id": f"{number}/{turn}", "turn": turn, "after": f"{number}/{turn - 1}" if turn > 1 else ""}
            row |= {"first": turns[0], "answered": "", "question": question, "passage": number, "subject": category}
            yield record.row(**row, subset=f"turn {turn}" if several else category)


def _turns(record: Record) -> list[str]:
    turns = record.get("turns", [record.get("text")])
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise PalimpsestError(
            f"{record.place}: a question has `turns` (a list of texts) or `text`, none of them empty; this has "
            f"{', '.join(sorted(record))}."
        )
    if len(turns) > 2:
        raise PalimpsestError(f"{record.place}: {len(turns)} turns; conversations of one or two turns are read.")
    return turns
