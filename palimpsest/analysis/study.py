"""A study's tables: answers of all variants, metrics and claims, from what its jobs left in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from palimpsest.analysis import baselines, between, calibration, choices, judged
from palimpsest.analysis import claims as claims_
from palimpsest.analysis.answers import assert_complete, read_answers, task_scoring
from palimpsest.analysis.arms import arms
from palimpsest.analysis.metrics import COLUMNS, metrics
from palimpsest.provenance import atomic_file, write_json

if TYPE_CHECKING:
    from palimpsest.grid import Grid


def analyse(results: Path, grid: Grid, tasks: Sequence[str], claims_file: Path | str, more: Sequence[str] = ()) -> None:
    """Write answers.parquet, metrics.parquet, claims.json, and facts.parquet where there is a world.

    Reads every variant's answers.parquet, the task folders, the tables named in `more` (probes, similarity: their rows
    are metrics too), the records of the calibrations, the world's facts.parquet and measurements.parquet (for bits per
    parameter and byte), the last two if they are there.
    """
    variants = grid.variants()
    answers = read_answers(Path(variant.folder(str(results))) / "answers.parquet" for variant in variants)
    assert_complete(answers, [variant.row for variant in variants], tasks)
    facts = _read(results / "world" / "facts.parquet")
    cells = calibration.calibrated(grid)
    judgements = [Path(variant.folder(str(results))) / "judgements.parquet" for variant in variants]
    table = metrics(
        answers,
        task_scoring(results / "tasks", tasks),
        tasks_folder=results / "tasks",
        facts=facts,
        correlated=facts is not None and grid.study.world.correlation > 0,
        arms={} if facts is None else arms(grid),
        measurements=_read(results / "measurements.parquet"),
        more=[
            calibration.contrasts(answers, cells),
            calibration.tokens(results, grid, cells),
            between.between_recoveries(answers),
            choices.choices(answers),
            choices.oracles(answers, results / "tasks", tasks, choices.choosers(grid)),
            baselines.baselines(results / "tasks", tasks),
            *([judged.scores(judgements, results / "agreement.parquet")] if grid.judged_tasks else []),
        ],
    )
    for name in more:
        rows = pandas.read_parquet(results / f"{name}.parquet").astype({"layer": str})
        table = pandas.concat([table, rows[COLUMNS]], ignore_index=True)
    verdicts = claims_.judge(claims_.read_claims(claims_file), table, answers)
    write_table(results / "answers.parquet", answers)
    write_table(results / "metrics.parquet", table)
    if facts is not None:
        write_table(results / "facts.parquet", facts)
    write_json(results / "claims.json", verdicts)


def write_table(path: Path, table: pandas.DataFrame) -> None:
    with atomic_file(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def _read(path: Path) -> pandas.DataFrame | None:
    return pandas.read_parquet(path) if path.exists() else None
