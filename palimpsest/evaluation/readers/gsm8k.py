"""GSM8K (Cobbe et al., arXiv:2110.14168): grade-school problems with worked answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import records


def gsm8k(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a problem, its answer as it stands: the steps, and the number after ####."""
    for record in records(folder, settings["files"]):
        yield record.row(question=record.need("question"), answer=record.need("answer"))
