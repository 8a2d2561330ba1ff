"""Which figures and tables a study has, and what each reads. Plain Python: the Snakefile imports it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.analysis.arms import TEXT, arms
from palimpsest.analysis.classification import CLASSES, INFERENCE
from palimpsest.analysis.siblings import LOW_RANK, of_allocations
from palimpsest.evaluation.judge import is_judged
from palimpsest.grid import NONE, Cell, Grid, Variant
from palimpsest.halves import HALVES
from palimpsest.levels import parse
from palimpsest.probing.definition import probes
from palimpsest.provenance import PalimpsestError, digest_bytes
from palimpsest.settings import PLANTED, SWAPPED

if TYPE_CHECKING:
    from palimpsest.settings import Study

HERE = Path(__file__).parent

# figure -> (files of results/<study>/ that it reads, category and label for Snakemake's report)
FIGURES: dict[str, tuple[tuple[str, ...], str]] = {
    "accuracy": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "knowledge_vs_perplexity": (("metrics.parquet",), "Knowledge against perplexity"),
    "knowledge_bits": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "flips": (("metrics.parquet",), "What was lost"),
    "tasks": (("metrics.parquet",), "What was lost"),
    "calibration": (("metrics.parquet",), "Which calibration keeps knowledge"),
    "models": (("metrics.parquet",), "The same cells on different models"),
    "origins": (("metrics.parquet",), "What was lost"),
    "lengths": (("metrics.parquet",), "What was lost"),
    "recovery": (("metrics.parquet",), "What came back"),
    "displaced": (("metrics.parquet",), "What came back"),
    "displaced_frequency": (("metrics.parquet",), "What came back"),
    "prompt_length": (("metrics.parquet",), "What came back"),
    "choices": (("metrics.parquet",), "What came back"),
    "cost": (("metrics.parquet", "measurements.parquet"), "What came back"),
    "latency": (("metrics.parquet", "measurements.parquet"), "What came back"),
    "regimes": (("metrics.parquet", "similarity.parquet"), "What came back"),
    "heads": (("metrics.parquet", "similarity.parquet"), "What came back"),
    "planted": (("metrics.parquet",), "What came back"),
    "nli_rate": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "selective": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "probes": (("metrics.parquet", "probes.parquet"), "What the representations still hold"),
    "probe_rate": (
        ("metrics.parquet", "probes.parquet", "measurements.parquet"),
        "What the representations still hold",
    ),
    "probe_selectivity": (
        ("metrics.parquet", "probes.parquet", "measurements.parquet"),
        "What the representations still hold",
    ),
    "probe_layers": (("metrics.parquet", "probes.parquet"), "What the representations still hold"),
    "probe_heads": (("metrics.parquet", "probes.parquet"), "What the representations still hold"),
    "probe_nli": (("metrics.parquet",), "What the representations still hold"),
    "unsaid": (("metrics.parquet",), "What the representations still hold"),
    "accuracy_cost": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "cka": (("metrics.parquet",), "What became of the representations"),
    "logit_lens": (("metrics.parquet",), "What became of the representations"),
    "spectra": (("metrics.parquet",), "What became of the representations"),
    "sensitivity": (("metrics.parquet",), "What became of the representations"),
    "language": (("metrics.parquet", "measurements.parquet"), "What was lost"),
    "time": (("metrics.parquet",), "Where the time went"),
}
TABLES: dict[str, tuple[str, ...]] = {
    "cells": ("metrics.parquet", "measurements.parquet"),
    "flips": ("metrics.parquet",),
    "matching": ("metrics.parquet",),
    "tasks": ("metrics.parquet",),
    "judge": ("metrics.parquet",),
    "equal_bytes": ("metrics.parquet",),
    "calibration": ("metrics.parquet",),
    "recovery": ("metrics.parquet", "measurements.parquet"),
    "arms": ("metrics.parquet",),
    "choices": ("metrics.parquet",),
    "regimes": ("similarity.parquet", "metrics.parquet"),
    "latency": ("measurements.parquet", "metrics.parquet"),
    "latency_pairs": ("measurements.parquet", "latency.parquet", "metrics.parquet"),
    "selective": ("metrics.parquet", "measurements.parquet"),
    "probes": ("metrics.parquet", "probes.parquet"),
    "spectra": ("metrics.parquet",),
    "leaks": ("leaks.csv",),
    "claims": ("claims.json",),
    "time": (),
}


MEASURED = ("latency", "latency_pairs", "accuracy_cost", "time")  # figures and tables that differ between runs
ORIGINS = ("open_book_contradiction", "closed_book_distracted", "open_book_absent", "biography")  # what tells them
MOST_LABELS, MOST_OF_A_METHOD = 30, 4  # that colours, markers and lines can tell apart
MOST_CELLS = 48  # of a figure with a row a cell
MOST_MAPS = 24  # cells of a figure with a map a cell
MOST_COLUMNS = 16  # cells of a figure with a column a cell
PROMPT, FEWEST_LENGTHS = "prompt", 3  # what a figure of lengths is about
MANY_TASKS = 6  # from so many on, a figure shows all at once and none by level


def figure_names(study: Study) -> list[str]:
    """The figures that a study has data for, in the order of the report."""
    tasks, compressed = set(study.tasks), _compressed(study)
    judged = [task for task in study.tasks if _right_or_wrong(task)]
    cells = [cell for cell in Grid(study).cells() if not cell.is_dense]
    asked = [cell for cell in cells if "closed_book" in Grid(study).tasks(Variant(cell))]
    represented = Grid(study).represented()
    few, probed = told_apart(cells), _probed(study)
    read = Grid(study).probes
    in_layers = [name for name in probed if probes()[name]["kind"] != "head"]
    wanted = {
        "accuracy": compressed and few and "closed_book" in tasks,
        "knowledge_vs_perplexity": compressed and few and {"closed_book", "perplexity"} <= tasks,
        "knowledge_bits": few and "closed_book_mc" in tasks,
        "flips": compressed and len(cells) <= MOST_CELLS and bool(judged),
        "tasks": compressed and len(judged) >= MANY_TASKS and len(cells) <= MOST_COLUMNS,
        "calibration": "closed_book" in tasks and bool(_sweeps(study)),
        "models": 0 < len(shared_cells(asked)) <= MOST_CELLS,
        "origins": compressed and len(cells) <= MOST_CELLS and bool(tasks & set(ORIGINS)),
        "lengths": compressed and len(cells) <= MOST_CELLS and "open_book_length" in tasks,
        "recovery": "closed_book" in tasks and bool(study.recovery),
        "displaced": "closed_book_mc" in tasks and _recovers(study),
        "displaced_frequency": "closed_book_mc" in tasks and _recovers(study),
        "prompt_length": bool(judged) and _has_lengths(study),
        "choices": bool(judged) and _has_dynamic(study),
        "cost": bool(judged) and _recovers(study),
        "latency": bool(judged) and _recovers(study),
        "regimes": bool(study.similarity) and _recovers(study),
        "heads": bool(study.similarity) and _recovers(study),
        "planted": "closed_book" in tasks and _plants(study),
        "nli_rate": few and _low_rank_is_asked(study, CLASSES),
        "selective": bool(of_allocations(Grid(study))),
        "probes": few and _reads_all(study),
        "probe_rate": few and bool(in_layers),
        "probe_selectivity": few and any(probes()[name]["kind"] != "tree" for name in in_layers),
        "probe_layers": few and bool(in_layers),
        "probe_heads": any(probes()[name]["kind"] == "head" for name in probed),
        "probe_nli": few and bool(in_layers) and _low_rank_is_asked(study, INFERENCE),
        "unsaid": compressed and len(cells) <= MOST_CELLS and "closed_book_mc" in tasks and "attribute_value" in read,
        "accuracy_cost": compressed and few and bool(judged),
        "cka": 0 < len(represented) <= MOST_MAPS,
        "logit_lens": few and any(_predicts_words(study, cell) for cell in represented),
        "spectra": 0 < len(represented) <= MOST_MAPS,
        "sensitivity": 0 < len(Grid(study).spliced()) <= MOST_MAPS,
        "language": compressed and few and "closed_book" not in tasks and len(tasks) < MANY_TASKS,
        "time": True,
    }
    return [name for name in FIGURES if wanted[name]]


def table_names(study: Study) -> list[str]:
    """The tables that a study has data for."""
    judged = [task for task in study.tasks if _right_or_wrong(task)]
    halves = {f"biographies_{name}" for name in HALVES}
    wanted = {
        "cells": True,
        "flips": _compressed(study) and bool(judged),
        "matching": _compressed(study) and bool(judged),
        "tasks": True,
        "judge": bool(Grid(study).judged_tasks),
        "equal_bytes": _compressed(study) and len(study.models) > 1,
        "calibration": "closed_book" in study.tasks
        and any(halves <= {study.calibration[name].text for name in names} for names in _sweeps(study).values()),
        "recovery": "closed_book" in study.tasks and bool(study.recovery),
        "arms": "closed_book_mc" in study.tasks and _recovers(study),
        "choices": _chooses(study),
        "regimes": bool(study.similarity) and _recovers(study),
        "latency": bool(judged) and _recovers(study),
        "latency_pairs": bool(judged) and _recovers(study),
        "selective": bool(of_allocations(Grid(study))),
        "probes": _compressed(study) and bool(study.probes),
        "spectra": bool(study.representation),
        "leaks": reads_texts(study),
        "claims": True,
        "time": True,
    }
    return [name for name in TABLES if wanted[name]]


def _probed(study: Study) -> list[str]:
    """The probes that read a low-rank cell."""
    grid = Grid(study)
    return [name for name in grid.probes if any(_is_low_rank(variant.cell) for variant in grid.probed(name))]


def _low_rank_is_asked(study: Study, tasks: Iterable[str]) -> bool:
    """Whether a low-rank cell answers one of these tasks."""
    grid = Grid(study)
    asked = (set(grid.tasks(variant)) for variant in grid.variants() if _is_low_rank(variant.cell))
    return any(not answered.isdisjoint(tasks) for answered in asked)


def _is_low_rank(cell: Cell) -> bool:
    return parse(cell.level).syntax in LOW_RANK


def _predicts_words(study: Study, cell: Cell) -> bool:
    """Whether a cell's model has a head that predicts words; of an encoder in a folder only the checkpoint knows."""
    return not Grid(study).is_encoder(cell.model) or study.models[cell.model].source == "world"


def _has_lengths(study: Study) -> bool:
    """Whether a cell has prompts of enough lengths, trained on a text as it is, to see what length does."""
    grid = Grid(study)
    sizes: dict[Cell, set] = {}
    for variant in grid.variants():
        entry, name = grid.recovery(variant), variant.recovery
        if entry is None or entry.method != PROMPT or name.endswith(SWAPPED):
            continue
        if study.world is None or arms(grid)[name].name == TEXT:
            sizes.setdefault(variant.cell, set()).add((entry.options.get("budget"), entry.options.get("tokens")))
    return any(len(found) >= FEWEST_LENGTHS for found in sizes.values())


def _has_dynamic(study: Study) -> bool:
    return any(recovery.method == "idp" for recovery in study.recovery.values())


def _chooses(study: Study) -> bool:
    """Whether a recovery chooses among soft prompts, or takes their mean on a task that tells how good it is."""
    dynamic = [recovery for recovery in study.recovery.values() if recovery.method == "idp"]
    chooses = any(recovery.options.get("choose") != "mean of all" for recovery in dynamic)
    return chooses or (bool(dynamic) and "closed_book_mc" in study.tasks)


def reads_texts(study: Study) -> bool:
    """Whether a calibration or recovery of a study reads a text that its tasks could occur in."""
    grid = Grid(study)
    recovers = any(grid.recovery(variant) for variant in grid.variants())
    return bool(grid.calibrations()) or recovers or bool(grid.learned_tasks())


def told_apart(cells: Iterable[Cell]) -> bool:
    """Whether a figure with a look for each label of these cells can be read."""
    of_method: dict[str, set[str]] = {}
    for cell in cells:
        of_method.setdefault(cell.method, set()).add(cell.label)
    counts = [len(labels) for labels in of_method.values()]
    return sum(counts) <= MOST_LABELS and max(counts, default=0) <= MOST_OF_A_METHOD


def base_label(label: str, calibration: str) -> str:
    """`wanda` of the label `wanda-prose` that a list of calibrations made; another label as it is."""
    return label.removesuffix(f"-{calibration}")


def sweeps(calibrations: Mapping[Cell, str]) -> dict[str, list[str]]:
    """Label without calibration -> the calibrations that it was swept over, of cells and their calibrations."""
    found: dict[str, dict[str, None]] = {}
    for cell, name in calibrations.items():
        found.setdefault(base_label(cell.label, name), {})[name] = None
    return {label: list(names) for label, names in found.items() if len(names) > 1}


def shared_cells(cells: Iterable[Cell]) -> dict[tuple[str, str, int], list[Cell]]:
    """(label, level, seed) -> its cells, where it was done to several models."""
    found: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.label, cell.level, cell.seed), []).append(cell)
    return {key: same for key, same in found.items() if len(same) > 1}


def _sweeps(study: Study) -> dict[str, list[str]]:
    grid = Grid(study)
    return sweeps({cell: found[0] for cell in grid.cells() if (found := grid.calibration(cell))})


def _recovers(study: Study) -> bool:
    """Whether a compressed cell has a recovery, and answers without it the task that recoveries are judged by
    (Tables.recoveries)."""
    grid, judged = Grid(study), [task for task in study.tasks if _right_or_wrong(task)]
    task = "closed_book" if "closed_book" in judged else next(iter(judged), None)
    return any(
        variant.recovery != NONE and not variant.cell.is_dense and task in (None, *grid.tasks(Variant(variant.cell)))
        for variant in grid.variants()
    )


def _reads_all(study: Study) -> bool:
    """Whether a probe reads all cells of a model that is compressed."""
    grid = Grid(study)
    read = [{variant.cell for variant in grid.probed(name)} for name in grid.probes]
    cells = [grid.cells(model) for model in study.models]
    return any(len(mine) > 1 and found.issuperset(mine) for mine in cells for found in read)


def _plants(study: Study) -> bool:
    """Whether a planted model has a recovery."""
    planted = [name for name, model in study.models.items() if model.source in PLANTED]
    return any(variant.recovery != NONE and variant.cell.model in planted for variant in Grid(study).variants())


def _right_or_wrong(task: str) -> bool:
    return not task.startswith("perplexity") and not is_judged(task)


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
    shared += ("arms_of.py", "probes_of.py", "rate_axis.py", "represented.py")
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
