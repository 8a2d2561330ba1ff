"""True and false statements, for probes of heads.

TruthfulQA (the authors' CSV or the hub's Parquet): every answer of every question after its question, as Li et al.
read them; a question is a group. Any other JSON lines or CSV: `text`, `label` (true or false, 1 or 0) and `group`,
what belongs together (a text is its own where it is not said).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers import truthfulqa
from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import Record, records
from palimpsest.provenance import PalimpsestError

TRUE = {"true": "true", "1": "true", "false": "false", "0": "false"}


def truth(folder: Path, definition: Mapping[str, Any]) -> Rows:
    """Rows of kind head; `format: truthfulqa` or `statements`, `files`: patterns, the first that matches is read."""
    kind, files = definition.get("format"), definition.get("files")
    if kind == "truthfulqa":
        for place, row in truthfulqa(folder, {"targets": "mc2", "files": files}):
            for number, option in enumerate(row["options"], 1):
                label = "true" if option in row["true_options"] else "false"
                text = f"Q: {row['question']}\nA: {option}"
                yield place, {"id": f"{row['id']}/{number}", "text": text, "label": label, "group": row["id"]}
    elif kind == "statements":
        for record in records(folder, files):
            yield record.place, _statement(record)
    else:
        raise PalimpsestError(f"{definition['probe']}: format is {kind!r}; write truthfulqa or statements.")


def _statement(record: Record) -> dict[str, Any]:
    text, label = record.need("text", "statement"), record.need("label")
    if str(label).lower() not in TRUE:
        raise PalimpsestError(f"{record.place}: label is {label!r}; it must be true or false (1 or 0).")
    identity = f"{record.name}/{record.number}"
    group = record.get("group") or identity
    return {"id": identity, "text": text, "label": TRUE[str(label).lower()], "group": str(group)}
