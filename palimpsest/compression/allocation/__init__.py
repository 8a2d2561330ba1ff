"""How the level of a cell is shared out among its matrices: any allocation with any compression method.

An allocation is one function under @allocation in the folder `methods` (registry.py). It decides on the level of each
matrix of a dense checkpoint at the level that is asked of the whole (case.py has what it may look at, budget.py what
levels cost), and `allocate` writes what it decided to a folder, once for all labels that use it. No torch here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest import levels
from palimpsest.provenance import PalimpsestError, read_json, verify_folder

RECORD = "allocation.json"
FORMAT = 1
DENSE = "dense"


def read_allocation(folder: Path | str, checkpoint_digest: str) -> dict[str, Any]:
    """The allocation in `folder`, which must have been made for the checkpoint of that digest.

    "levels": the level of each matrix by its name; those that are not named stay dense. "record": what compression.json
    says of it. Raises PalimpsestError on a folder that is damaged, or made for another checkpoint.
    """
    folder = Path(folder)
    digest = verify_folder(folder)
    if not (folder / RECORD).is_file():
        raise PalimpsestError(f"{folder}: no {RECORD} here: this is not an allocation.")
    record = read_json(folder / RECORD)
    if record.get("format") != FORMAT:
        raise PalimpsestError(
            f"{folder / RECORD}: format {record.get('format')}; this version of Palimpsest reads format {FORMAT}."
        )
    if record["base"] != checkpoint_digest:
        raise PalimpsestError(
            f"{folder}: made for another checkpoint: {record['base'][:12]}…, and this one is "
            f"{checkpoint_digest[:12]}…. Delete {folder} and run the study again."
        )
    found = {name: text for name, text in record["levels"].items() if text != DENSE}
    said = {key: value for key, value in record.items() if key not in ("format", "base", "levels", "measured")}
    return {
        "levels": {name: levels.parse(text) for name, text in found.items()},
        "record": said | {"digest": digest},
    }
