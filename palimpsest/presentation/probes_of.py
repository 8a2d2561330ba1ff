"""Probes as figures and tables ask for them: what they read, by which pooling and classifier, at which layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from palimpsest.analysis.probe_nli import CLASSIFIERS, POOLINGS
from palimpsest.grid import Cell
from palimpsest.presentation import rate_axis
from palimpsest.presentation.data import CELL, Number, Tables

SCORES = ("acc", "uuas")
BASELINES = {"acc": ("majority", "majority", "most frequent label"), "uuas": ("chain", "uuas", "words in a chain")}
PROPER = {"upos": "universal parts of speech", "xpos": "Penn parts of speech", "past_present": "tense",
          "subj_number": "subject number", "obj_number": "object number"}  # fmt: skip
CORPORA = {"ewt_": "EWT"}


@dataclass(frozen=True)
class Reading:
    """What is shown of a probe on a model: one pooling, one classifier, its score."""

    model: str
    task: str
    subset: str
    scoring: str
    score: str

    @property
    def title(self) -> str:
        """The probe in words: `tree depth`, `tree depth (EWT)`."""
        start = next((start for start in CORPORA if self.task.startswith(start)), "")
        name = self.task.removeprefix(start)
        words = PROPER.get(name, name.replace("_", " "))
        return f"{words} ({CORPORA[start]})" if start else words

    @property
    def axis(self) -> str:
        return "probe accuracy (%)" if self.score == "acc" else "UUAS (%)"


def readings(tables: Tables, model: str) -> list[Reading]:
    """One a probe of a model, by name; not those of attention heads, which have no score of a layer."""
    if not (tables.folder / "probes.parquet").exists():
        return []
    rows = tables.probes
    rows = rows[(rows["model"] == model) & rows["metric"].isin(SCORES) & rows["subset"].isin(POOLINGS)]
    rows = rows[rows["scoring"].isin(CLASSIFIERS)]
    found = []
    for task, own in rows.groupby("task", sort=True, observed=True):
        chosen = [_first(own[column], names) for column, names in
                  (("subset", POOLINGS), ("scoring", CLASSIFIERS), ("metric", SCORES))]  # fmt: skip
        found.append(Reading(model, str(task), *chosen))
    return found


def cells(tables: Tables, reading: Reading) -> list[Cell]:
    """The cells that a probe read, in the order of the study's."""
    return having(tables, reading, reading.score)


def having(tables: Tables, reading: Reading, metric: str) -> list[Cell]:
    """The cells that have a metric of a probe."""
    rows = _rows(tables, reading, metric)
    there = {Cell(*row) for row in rows[CELL].drop_duplicates().itertuples(index=False, name=None)}
    return [cell for cell in tables.cells if cell in there]


def of_all(tables: Tables) -> list[Reading]:
    """The probes that read every cell of their model."""
    found = [reading for model in tables.models for reading in readings(tables, model)]
    return [
        reading
        for reading in found
        if cells(tables, reading) == [cell for cell in tables.cells if cell.model == reading.model]
    ]


def low_rank(tables: Tables, reading: Reading) -> list[Cell]:
    """Those of them that are low rank, every matrix at the cell's level."""
    return [cell for cell in cells(tables, reading) if rate_axis.is_low_rank(tables, cell)]


def unread(tables: Tables, reading: Reading) -> list[Cell]:
    """The model's low-rank cells that a probe did not read."""
    read = set(cells(tables, reading))
    return [cell for cell in rate_axis.low_rank(tables, reading.model) if cell not in read]


def layers(tables: Tables, reading: Reading) -> list[int]:
    return sorted({int(layer) for layer in _rows(tables, reading)["layer"]})


def best_layer(tables: Tables, reading: Reading) -> int:
    """Where the dense model is read best. All cells are shown there, so that none is favoured by the choice."""
    dense = tables.dense(reading.model)
    values = {layer: numbers(tables, reading, layer, [dense])[dense].value for layer in layers(tables, reading)}
    return max(values, key=lambda layer: (values[layer] == values[layer], values[layer]))


def numbers(
    tables: Tables, reading: Reading, layer: int, some: list[Cell], metric: str | None = None
) -> dict[Cell, Number]:
    """A metric of some cells at a layer; the probe's score if none is named."""
    metric = metric or reading.score
    return tables.probed(reading.task, layer, metric, some, subset=reading.subset, scoring=reading.scoring)


def floor(tables: Tables, reading: Reading, layer: int, metric: str | None = None) -> Number | None:
    """The same of the model's twin with random weights, where there is one."""
    twin = Cell(reading.model, "random", "random", "full", 0)
    return numbers(tables, reading, layer, [twin], metric)[twin] if has(tables, reading, metric, "random") else None


def baseline(tables: Tables, reading: Reading) -> tuple[str, Number] | None:
    """What is right without reading anything, and its name: the most frequent label; each word hung on the next."""
    scoring, metric, name = BASELINES[reading.score]
    without = replace(reading, scoring=scoring)
    dense = tables.dense(reading.model)
    if not has(tables, without, metric, "dense"):
        return None
    return name, numbers(tables, without, 0, [dense], metric)[dense]


def has(tables: Tables, reading: Reading, metric: str | None = None, label: str | None = None) -> bool:
    """Whether there is a metric of this probe (of some label)."""
    rows = _rows(tables, reading, metric)
    rows = rows if label is None else rows[rows["label"] == label]
    return bool(rows["value"].notna().any())


def _rows(tables: Tables, reading: Reading, metric: str | None = None):
    rows = tables.probes
    named = (rows["task"] == reading.task) & (rows["model"] == reading.model) & (rows["subset"] == reading.subset)
    named &= (rows["scoring"] == reading.scoring) & (rows["recovery"] == "none")
    return rows[named & (rows["metric"] == (metric or reading.score))]


def _first(column, wanted: tuple[str, ...]) -> str:
    there = list(column.unique())
    return next((name for name in wanted if name in there), there[0])
