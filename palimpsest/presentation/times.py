"""Where a study's time went: its jobs' clocks, summed by stage.

python -m palimpsest.presentation.times results/embedded/times --output results/embedded/times.csv
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from palimpsest.provenance import PalimpsestError, atomic_file, read_json

# The first part of a job's path below times/ (mostly its rule) -> its stage.
STAGES = {
    "world": "sources", "train": "sources", "import_model": "sources", "outliers": "sources", "fork": "sources",
    "displace": "sources", "lock": "sources", "task_data": "data",
    "calibrate": "calibrate", "allocate": "allocate", "compress": "compress", "recover": "recover",
    "evaluate": "evaluate", "probe_data": "data", "floor": "probe", "probe": "probe", "measure": "measure",
    "leaks": "analyse", "analyse": "analyse",
    "figure": "report", "tables": "report", "report": "report", "paper": "report",
}  # fmt: skip
ORDER = (
    "sources",
    "data",
    "calibrate",
    "allocate",
    "compress",
    "recover",
    "evaluate",
    "probe",
    "measure",
    "analyse",
    "report",
    "other",
)
AIM = 1 / 3  # of the CPU time at most for starting Python and importing


@dataclass(frozen=True)
class Job:
    """One job's clock."""

    name: str
    stage: str
    cpu_seconds: float
    import_cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Stage:
    """A stage's jobs together; memory is the largest job's."""

    stage: str
    jobs: int
    cpu_seconds: float
    import_cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int

    @property
    def import_share(self) -> float:
        return self.import_cpu_seconds / self.cpu_seconds if self.cpu_seconds else 0.0


def stage_of(name: str) -> str:
    """The stage of a job by its path below `times/` (`recover/atlas/rtn/2/s0/lora-r4` -> recover)."""
    return STAGES.get(name.split("/")[0], "other")


def jobs(times: str | Path) -> list[Job]:
    """Every job's clock below the folder `times`, by name."""
    times = Path(times)
    if not times.is_dir():
        raise PalimpsestError(
            f"{times}: there is no such folder; a study's jobs write their times to results/<study>/times/."
        )
    found = []
    for path in sorted(times.rglob("*.json")):
        name = path.relative_to(times).as_posix().removesuffix(".json")
        clock = read_json(path)
        try:
            found.append(
                Job(name, stage_of(name), float(clock["cpu_seconds"]), float(clock["import_cpu_seconds"]),
                    float(clock["wall_seconds"]), int(clock["peak_memory_bytes"]))
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise PalimpsestError(f"{path}: not a job's clock (written by --times): {error!r}. Delete it.") from None
    return found


def collect(times: str | Path, without: tuple[str, ...] = ()) -> list[Stage]:
    """One row a stage, in the order of a run, and a last row `total`; `without` names stages to leave out."""
    by_stage: dict[str, list[Job]] = defaultdict(list)
    everything = [job for job in jobs(times) if job.stage not in without]
    for job in everything:
        by_stage[job.stage].append(job)
    rows = [_sum(stage, by_stage[stage]) for stage in ORDER if by_stage[stage]]
    return [*rows, _sum("total", everything)] if everything else []


def _sum(stage: str, jobs: list[Job]) -> Stage:
    return Stage(
        stage,
        len(jobs),
        round(sum(job.cpu_seconds for job in jobs), 3),
        round(sum(job.import_cpu_seconds for job in jobs), 3),
        round(sum(job.wall_seconds for job in jobs), 3),
        max(job.peak_memory_bytes for job in jobs),
    )


def write_csv(rows: list[Stage], path: str | Path) -> None:
    """The stages as CSV, with the share of imports."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*Stage.__dataclass_fields__, "import_share"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) | {"import_share": f"{row.import_share:.3f}"} for row in rows)


def print_table(rows: list[Stage]) -> None:
    """The stages in the terminal, with the share of imports against the aim."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Where the time went", title_justify="left", box=None, pad_edge=False)
    table.add_column("stage")
    for heading in ("jobs", "CPU s", "share", "of it imports", "peak memory"):
        table.add_column(heading, justify="right")
    total = rows[-1].cpu_seconds if rows else 0.0
    for row in rows:
        if row.stage == "total":
            table.add_section()
        table.add_row(
            row.stage, f"{row.jobs}", f"{row.cpu_seconds:,.1f}", f"{row.cpu_seconds / total if total else 0:.0%}",
            f"{row.import_share:.0%}", f"{row.peak_memory_bytes / 1e6:,.0f} MB",
            style="bold" if row.stage == "total" else None,
        )  # fmt: skip
    console = Console()
    console.print(table)
    if rows:
        kept = "kept" if rows[-1].import_share <= AIM else "missed"
        console.print(
            f"Starting Python and importing: {rows[-1].import_share:.0%} of the CPU time (aim: under a third, {kept})."
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="palimpsest.presentation.times", description="Print where a study's time went."
    )
    parser.add_argument("times", help="the folder results/<study>/times")
    parser.add_argument("--output", metavar="CSV", help="also write the table there")
    args = parser.parse_args()
    try:
        rows = collect(args.times)
        if args.output:
            write_csv(rows, args.output)
        print_table(rows)
    except PalimpsestError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
