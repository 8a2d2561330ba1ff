"""One probe on all variants of a study that it reads, and on each model's twin with random weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from palimpsest.probing.data import read_probe
from palimpsest.probing.features import read_features
from palimpsest.probing.kinds import kind
from palimpsest.probing.outcome import Outcome
from palimpsest.provenance import atomic_file

if TYPE_CHECKING:
    from palimpsest.grid import Grid

RANDOM = "random"  # label and method of the twin with random weights
VARIANT = ["model", "label", "method", "level", "seed", "recovery"]
NAMES = ["task", "subset", "scoring", "layer", "metric", "classes"]
COLUMNS = [*VARIANT, *NAMES, "row", "cluster", "value", "control", "said"]


def probe(results: Path, grid: Grid, name: str, output: Path) -> None:
    """Write a row for each variant, outcome and test row: `COLUMNS`."""
    data = Path(grid.probe_folder(name))
    definition, rows = read_probe(data)
    options, outcomes = grid.probes[name], kind(definition["kind"]).outcomes
    parts = [
        _table(outcome, who | {"task": name})
        for who, folder in _read(results, grid, name)
        for outcome in outcomes(read_features(folder, name, data), rows, options)
    ]
    table = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame(columns=COLUMNS)
    text = [column for column in COLUMNS if column not in ("seed", "layer", "classes", "value", "control")]
    with atomic_file(output) as temporary:
        table.astype(dict.fromkeys(text, "category")).to_parquet(temporary, index=False, compression="zstd")


def random_row(model: str) -> dict[str, Any]:
    """The columns that name a model's twin with random weights."""
    return {"model": model, "label": RANDOM, "method": RANDOM, "level": "full", "seed": 0, "recovery": "none"}


def _read(results: Path, grid: Grid, name: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Who is read, and where its features are."""
    variants = grid.probed(name)
    for variant in variants:
        yield variant.row, Path(variant.folder(str(results))) / "features"
    for model in dict.fromkeys(variant.cell.model for variant in variants):
        yield random_row(model), results / "floors" / model / "features"


def _table(outcome: Outcome, name: Mapping[str, Any]) -> pandas.DataFrame:
    """A row for each test row; one without a value where there was nothing to test."""
    table = pandas.DataFrame({"row": outcome.rows, "cluster": outcome.clusters, "value": outcome.values})
    table["control"] = float("nan") if outcome.controls is None else outcome.controls
    table["said"] = "" if outcome.said is None else outcome.said
    if table.empty:
        table = pandas.DataFrame([{"row": "", "cluster": "", "value": float("nan"), "said": ""}])
        table["control"] = float("nan")
    named = {key: getattr(outcome, key) for key in NAMES if key != "task"}
    return table.assign(**name, **named).astype({"value": "float32", "control": "float32"})[COLUMNS]
