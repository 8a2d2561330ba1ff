"""Representation change as its figures and table ask for it: cells, and numbers by layer and matrix."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pandas

from palimpsest.grid import Cell
from palimpsest.presentation.data import CELL, Number, Tables
from palimpsest.presentation.level_names import cell_titles
from palimpsest.provenance import PalimpsestError

RANDOM = "random"  # label and method of the dense model's twin with random weights


def cells_of(tables: Tables, scoring: str, metric: str | None = None) -> list[Cell]:
    """The cells that such rows speak of, in the order of the study; a model's random twin comes last of its cells."""
    rows = tables.representation
    rows = rows[(rows["scoring"] == scoring) & (metric is None or rows["metric"] == metric)]
    there = {Cell(*row) for row in rows[CELL].drop_duplicates().itertuples(index=False, name=None)}
    found = []
    for model in dict.fromkeys(cell.model for cell in tables.cells):
        found += [cell for cell in tables.cells if cell.model == model and cell in there and cell.label != RANDOM]
        found += [cell for cell in there if cell.model == model and cell.label == RANDOM]
    return found


def of_study(tables: Tables, scoring: str) -> list[Cell]:
    """The same without random twins."""
    return [cell for cell in cells_of(tables, scoring) if cell.label != RANDOM]


def titles(tables: Tables, cells: list[Cell]) -> list[str]:
    """Cells in few words, under their model where there are several."""
    several = len({cell.model for cell in cells}) > 1
    words = ["random weights" if cell.label == RANDOM else "dense" if cell.is_dense else "" for cell in cells]
    words = [word or title for word, title in zip(words, cell_titles(cells, several_models=False), strict=True)]
    return [f"{cell.model}\n{word}" if several else word for cell, word in zip(cells, words, strict=True)]


def texts_of(tables: Tables, scoring: str) -> str:
    """The texts that a figure shows: the first that were read."""
    rows = tables.representation
    return next(task for task in rows.loc[rows["scoring"] == scoring, "task"] if task)


def numbers(tables: Tables, cell: Cell, scoring: str, metric: str, task: str) -> dict[tuple[str, str], Number]:
    """(layer, subset) -> what stands there of a cell."""
    rows = tables.representation
    rows = rows[(rows["scoring"] == scoring) & (rows["metric"] == metric) & (rows["task"] == task)]
    return tables.by_layer(rows, cell, f"{task}/{scoring}/{metric}", "metrics.parquet")


def matrices(found: dict[tuple[str, str], Number]) -> list[str]:
    """The matrices of a block, in the order in which it uses them."""
    return list(dict.fromkeys(part for _, part in found if part != "all"))


def shares(tables: Tables, cell: Cell, part: str, metric: str = "effective_rank_share") -> dict[tuple[str, str], float]:
    """(block, matrix) -> rank in % of the full one; part is "weight", "input" or "output"."""
    task = "" if part == "weight" else texts_of(tables, "output")
    return {key: 100 * number.value for key, number in numbers(tables, cell, part, metric, task).items()}


def mean_share(tables: Tables, cell: Cell, part: str, metric: str = "effective_rank_share") -> float:
    """The mean of `shares` over all matrices."""
    return mean(shares(tables, cell, part, metric).values())


def points(tables: Tables, cell: Cell) -> pandas.DataFrame:
    """The points of a cell's spectra: task, subset, scoring, layer, place, value; those of its random twin apart."""
    source = cell if cell.label != RANDOM else Cell(cell.model, "dense", "dense", "full", 0)
    path = Path(tables.folder) / "spectra" / f"{source.id}.parquet"
    if not path.exists():
        raise PalimpsestError(f"{path}: there is no such file; run the study first (make study).")
    rows = pandas.read_parquet(path)
    return rows[rows["label"] == cell.label]
