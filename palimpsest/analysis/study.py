"""A study's tables: answers of all variants, metrics and claims, from what its jobs left in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from palimpsest.analysis import (
    about_facts,
    allocated,
    baselines,
    benchmark,
    beside_svd,
    between,
    calibration,
    choices,
    judged,
    planted,
    probe_nli,
    probing,
    prompt_length,
)
from palimpsest.analysis import claims as claims_
from palimpsest.analysis.answers import assert_complete, read_answers, task_scoring
from palimpsest.analysis.arms import arms
from palimpsest.analysis.idp_gain import idp_gain
from palimpsest.analysis.metrics import COLUMNS, metrics
from palimpsest.analysis.unsaid import unsaid
from palimpsest.provenance import atomic_file, write_json

if TYPE_CHECKING:
    from palimpsest.grid import Grid


def analyse(results: Path, grid: Grid, claims_file: Path | str, more: Sequence[str] = ()) -> None:
    """Write answers.parquet, metrics.parquet, claims.json, and where there is a world facts.parquet with facts.md.

    Reads every variant's answers.parquet, the task folders, what probes said, the tables named in `more` (their rows
    are metrics), the records of the calibrations, the world's facts.parquet and measurements.parquet (for bits per
    parameter and byte), the last two if they are there.
    """
    variants, tasks = grid.variants(), grid.study.tasks
    answers = read_answers(Path(variant.folder(str(results))) / "answers.parquet" for variant in variants)
    assert_complete(answers, [(variant.row, grid.tasks(variant)) for variant in variants])
    facts = _read(results / "world" / "facts.parquet")
    cells = calibration.calibrated(grid)
    judgements = [Path(variant.folder(str(results))) / "judgements.parquet" for variant in variants]
    scoring = task_scoring(results / "tasks", tasks)
    correlated = facts is not None and grid.study.world.correlation > 0
    of_recovery = {} if facts is None else arms(grid)
    plants = [] if facts is None else planted.plants(grid, results)
    lengths = prompt_length.prompt_tokens(results, grid)
    untold = about_facts.untold(answers, facts, of_recovery)
    asked = {} if facts is None else about_facts.asked(answers, scoring, results / "tasks")
    table = metrics(
        answers,
        scoring,
        tasks_folder=results / "tasks",
        facts=facts,
        correlated=correlated,
        arms=of_recovery,
        plants=plants,
        measurements=_read(results / "measurements.parquet"),
        more=[
            calibration.contrasts(answers, cells),
            calibration.tokens(results, grid, cells),
            between.between_recoveries(untold),
            idp_gain(untold, choices.choosers(grid)),
            choices.rules(grid),
            choices.choices(answers),
            choices.oracles(asked, choices.choosers(grid)),
            lengths,
            prompt_length.per_doubling(untold, lengths, scoring, of_recovery),
            baselines.baselines(results / "tasks", tasks),
            allocated.beside_uniform(answers, grid),
            beside_svd.answered(answers, grid),
            *([judged.scores(judgements, results / "agreement.parquet")] if grid.judged_tasks else []),
        ],
    )
    outcomes = {name: pandas.read_parquet(f"{grid.probe_folder(name)}.parquet") for name in grid.probes}
    probes = probing.table(outcomes.values())
    if len(beside := beside_svd.probed(outcomes.values(), grid)):
        probes = pandas.concat([probes, beside], ignore_index=True)
    table = pandas.concat([table, probes, _unsaid(results, asked, plants)], ignore_index=True)
    both = probe_nli.together(table)
    table = pandas.concat([table, both], ignore_index=True) if len(both) else table
    for name in more:
        rows = pandas.read_parquet(results / f"{name}.parquet").astype({"layer": str})
        table = pandas.concat([table, rows[COLUMNS]], ignore_index=True)
    verdicts = claims_.judge(claims_.read_claims(claims_file), table, answers)
    write_table(results / "answers.parquet", answers)
    write_table(results / "metrics.parquet", table)
    if grid.probes:
        write_table(results / "probes.parquet", probes)
    if facts is not None:
        found = benchmark.table(asked, scoring, facts, correlated, of_recovery, plants)
        benchmark.write(results, grid.study.name, found)
    write_json(results / "claims.json", verdicts)


def _unsaid(results: Path, asked: about_facts.Asked, plants: Sequence[planted.Plant]) -> pandas.DataFrame:
    """What probes read of the facts that variants do not say, where the study has probes and a task that selects."""
    said = _said(results / "probes" / "attribute_value")
    selecting = about_facts.selecting(asked)
    if said is None or selecting is None:
        return pandas.DataFrame(columns=COLUMNS)
    return unsaid(*asked[selecting], about_facts.known(asked, plants), said)


def _said(probe: Path) -> pandas.DataFrame | None:
    """What the attribute-value probe named: person, attribute, value, said, by variant, task and layer."""
    if (table := _read(probe.with_suffix(".parquet"))) is None:
        return None
    rows = pandas.read_json(probe / "rows.jsonl", lines=True, dtype=False)[["id", "person", "attribute", "value"]]
    table = table[table["label"] != "random"].drop(columns=["value"]).rename(columns={"row": "id"})
    return table.astype(dict.fromkeys(("id", "said", "label", "level", "recovery", "model", "method"), str)).merge(
        rows, on="id"
    )


def write_table(path: Path, table: pandas.DataFrame) -> None:
    with atomic_file(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def _read(path: Path) -> pandas.DataFrame | None:
    return pandas.read_parquet(path) if path.exists() else None
