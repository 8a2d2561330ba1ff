"""What must make a stage's results again when the library changes. Plain Python: the Snakefile imports it.

Snakemake sees the text of a rule and its parameters, not the library behind it. So each rule has a parameter `code`:
for costly stages a version, to be raised by whoever changes what the stage computes; for cheap ones the digest of the
sources. (A compression method has a version of its own, in its decorator; a figure the digest of its module.)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from palimpsest.provenance import digest_bytes

PACKAGE = Path(__file__).parent

# "fork" and "lock" train as "train" does: what changes that one's results raises all three.
VERSIONS = {
    "train": "1", "calibrate": "1", "allocate": "1", "compress": "2", "recover": "2", "evaluate": "5", "measure": "3",
    "export": "1", "outliers": "1", "judge": "1", "fork": "1", "displace": "1", "lock": "1", "floor": "2",
    "probe_data": "2", "fine_tune": "1", "representation": "1", "sensitivity": "1",
}  # fmt: skip
# stage -> folder of the package
SOURCES = {
    "world": "world",
    "task_data": "evaluation/readers",
    "training_data": "evaluation/readers",
    "probe": "probing",
    "similarity": "similarity",
    "analyse": "analysis",
    "leaks": "leaks",
}


@cache
def code(stage: str) -> str:
    """The version of a stage's code, or the digest of its sources."""
    if stage in VERSIONS:
        return VERSIONS[stage]
    files = sorted((PACKAGE / SOURCES[stage]).rglob("*.py"))
    return digest_bytes(b"".join(file.read_bytes() for file in files))
