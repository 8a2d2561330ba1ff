"""Which figures and tables a study has, and what each reads. Plain Python: the Snakefile imports it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.provenance import PalimpsestError, digest_bytes

if TYPE_CHECKING:
    from palimpsest.settings import Study

HERE = Path(__file__).parent

# figure -> (files of results/<study>/ that it reads, category and label for Snakemake's report)
FIGURES: dict[str, tuple[tuple[str, ...], str]] = {
    "accuracy": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "knowledge_vs_perplexity": (("metrics.parquet",), "Knowledge against perplexity"),
    "knowledge_bits": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "flips": (("metrics.parquet",), "What was lost"),
    "recovery": (("metrics.parquet",), "What came back"),
    "probes": (("metrics.parquet", "probes.parquet"), "What the representations still hold"),
    "language": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "time": (("metrics.parquet",), "Where the time went"),
}
TABLES: dict[str, tuple[str, ...]] = {
    "cells": ("metrics.parquet", "measurements.parquet"),
    "flips": ("metrics.parquet",),
    "recovery": ("metrics.parquet", "measurements.parquet"),
    "claims": ("claims.json",),
    "time": (),
}


def figure_names(study: Study) -> list[str]:
    """The figures that a study has data for, in the order of the report."""
    tasks, compressed = set(study.tasks), _compressed(study)
    judged = tasks - {task for task in tasks if task.startswith("perplexity")}
    wanted = {
        "accuracy": compressed and "closed_book" in tasks,
        "knowledge_vs_perplexity": compressed and {"closed_book", "perplexity"} <= tasks,
        "knowledge_bits": "closed_book_mc" in tasks,
        "flips": compressed and bool(judged),
        "recovery": "closed_book" in tasks and bool(study.recovery),
        "probes": bool(study.probes),
        "language": compressed and "closed_book" not in tasks,
        "time": True,
    }
    return [name for name in FIGURES if wanted[name]]


def table_names(study: Study) -> list[str]:
    """The tables that a study has data for."""
    judged = [task for task in study.tasks if not task.startswith("perplexity")]
    wanted = {
        "cells": True,
        "flips": _compressed(study) and bool(judged),
        "recovery": "closed_book" in study.tasks and bool(study.recovery),
        "claims": True,
        "time": True,
    }
    return [name for name in TABLES if wanted[name]]


def _compressed(study: Study) -> bool:
    return bool(study.compression) and any(model.compress for model in study.models.values())


def figure_inputs(name: str) -> tuple[str, ...]:
    """The files of results/<study>/ that a figure reads."""
    check_figure(name)
    return FIGURES[name][0]


def figure_category(name: str) -> str:
    """The chapter of the report that a figure belongs to."""
    check_figure(name)
    return FIGURES[name][1]


def figure_source(name: str) -> str:
    """Digest of the code that draws a figure: as a rule's parameter, it redraws this figure when its code changes."""
    check_figure(name)
    shared = ("style.py", "data.py", "level_names.py", "labels.py", "levels_axis.py", "quantities.py")
    files = [
        HERE / "figures" / f"{name}.py",
        *(HERE / file for file in shared),
        HERE.parents[1] / "reports/style.mplstyle",
    ]
    return digest_bytes(b"".join(file.read_bytes() for file in files))


def page_source() -> str:
    """Digest of all that writes tables, report and paper: as a rule's parameter, it writes them again."""
    reports = HERE.parents[1] / "reports"
    files = [*HERE.rglob("*.py"), *reports.glob("captions/*.rst"), reports / "report.html.j2", reports / "paper.tex"]
    return digest_bytes(b"".join(file.read_bytes() for file in sorted(files)))


def check_figure(name: str) -> None:
    if name not in FIGURES:
        raise PalimpsestError(f"there is no figure {name!r}; the figures are {', '.join(FIGURES)}.")


def check_table(name: str) -> None:
    if name not in TABLES:
        raise PalimpsestError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}.")
