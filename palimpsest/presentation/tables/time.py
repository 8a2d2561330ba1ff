"""Where the time went, by stage. It differs from run to run: the only table that does."""

from __future__ import annotations

from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Where the time went"


def rows(tables: Tables) -> Table:
    """One row a stage, and a last row with the total."""
    columns = [
        Column("stage", "stage", right=False),
        Column("jobs", "jobs", "", 0),
        Column("cpu_seconds", "CPU", "s"),
        Column("share", "share", "%", 0, 100),
        Column("import_share", "of it imports", "%", 0, 100),
        Column("peak_memory_bytes", "peak memory", "MB", 0, 1e-6),
    ]
    table = Table(columns)
    total = tables.times[-1].cpu_seconds if tables.times else 0.0
    for stage in tables.times:
        row = {"stage": stage.stage, "jobs": stage.jobs, "cpu_seconds": stage.cpu_seconds}
        row |= {"share": stage.cpu_seconds / total if total else 0.0, "import_share": stage.import_share}
        row |= {"peak_memory_bytes": stage.peak_memory_bytes}
        table.add(row, new_block=stage.stage == "total", bold=stage.stage == "total")
    return table
