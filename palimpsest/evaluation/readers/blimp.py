"""BLiMP's minimal pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, find, in_fixed_order, json_lines
from palimpsest.provenance import PalimpsestError


def blimp(folder: Path, settings: dict[str, Any]) -> Rows:
    """BLiMP's files: a row a minimal pair, a subset a file, a subject a linguistic term."""
    for path in find(folder, "*.jsonl"):
        for number, (place, pair) in enumerate(json_lines(path)):
            if number == settings.get("rows_a_file"):
                break
            for field in ("sentence_good", "sentence_bad", "pairID", "linguistics_term"):
                if field not in pair:
                    raise PalimpsestError(f"{place}: the field {field!r} is missing; each of BLiMP's rows has it.")
            row = {"id": f"{path.stem}/{pair['pairID']}", "subset": path.stem, "subject": pair["linguistics_term"]}
            yield place, row | in_fixed_order(row["id"], pair["sentence_good"], pair["sentence_bad"])
