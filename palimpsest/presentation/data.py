"""A study's tables as figures and tables ask for them: one number a cell, and an error where a cell has none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas

from palimpsest.grid import Cell
from palimpsest.measurement.rounds import Rounds
from palimpsest.presentation import style, times
from palimpsest.presentation.level_names import family, severity
from palimpsest.provenance import PalimpsestError, read_json
from palimpsest.settings import SWAPPED

CELL = ["model", "label", "method", "level", "seed"]
PROBES = ("linear", "mlp", "structural", "majority", "chain")  # how probes score, and what they are held against
REPRESENTATION = ("cka", "weight", "input", "output", "logit_lens", "sensitivity")  # what representation/ compares


@dataclass(frozen=True)
class Quantity:
    """A row of metrics.parquet that a figure or table shows, by its key there."""

    title: str
    task: str
    metric: str
    subset: str = "all"
    scoring: str | None = None
    percent: bool = True  # a share, shown in %
    may_lack_verdict: bool = False  # not a number where the study cannot tell

    def __str__(self) -> str:
        return "/".join(part for part in (self.task, self.subset, self.scoring, self.metric) if part)


@dataclass(frozen=True)
class Number:
    """A value with its interval and the number of questions (or tokens) behind it."""

    value: float
    low: float
    high: float
    n: int

    @property
    def errors(self) -> tuple[float, float]:
        """Lengths of the interval's two arms; none where there is no interval."""
        return tuple(max(0.0, arm) if arm == arm else 0.0 for arm in (self.value - self.low, self.high - self.value))

    def times(self, factor: float) -> Number:
        return Number(self.value * factor, self.low * factor, self.high * factor, self.n)


class Tables:
    """The tables of one study; each file is read when it is first asked for."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise PalimpsestError(f"{folder}: there is no such folder; name a study's results, e.g. results/embedded.")

    @property
    def study(self) -> str:
        return self.folder.resolve().name

    def _parquet(self, name: str, columns: Iterable[str]) -> pandas.DataFrame:
        path = self.folder / name
        if not path.exists():
            raise PalimpsestError(f"{path}: there is no such file; run the study first (make study).")
        try:
            table = pandas.read_parquet(path)
        except (OSError, ValueError) as error:
            raise PalimpsestError(
                f"{path}: not a Parquet table ({error}). Delete it and run the study again."
            ) from None
        if missing := [column for column in columns if column not in table]:
            raise PalimpsestError(f"{path}: it has no column {', '.join(missing)}; it has {', '.join(table.columns)}.")
        # Tables may name a seed 0 or s0.
        return (
            table.assign(seed=table["seed"].astype(str).str.removeprefix("s").astype(int))
            if "seed" in columns
            else table
        )

    @cached_property
    def _all_metrics(self) -> pandas.DataFrame:
        columns = [*CELL, "recovery", "task", "subset", "scoring", "metric", "value", "low", "high"]
        return self._parquet("metrics.parquet", columns)

    @cached_property
    def metrics(self) -> pandas.DataFrame:
        # `probes` has those of probes, with the random floor, which is no cell; nor are baselines that know no passage.
        table = self._all_metrics
        return table[~table["scoring"].isin((*PROBES, *REPRESENTATION, "baseline", "similarity"))]

    @cached_property
    def representation(self) -> pandas.DataFrame:
        """What compression does to states (representation/), of random weights too."""
        table = self._all_metrics
        return table[table["scoring"].isin(REPRESENTATION)]

    @cached_property
    def measurements(self) -> pandas.DataFrame:
        return self._parquet("measurements.parquet", [*CELL, "recovery", "metric", "value"])

    @cached_property
    def probes(self) -> pandas.DataFrame:
        return self._parquet("probes.parquet", [*CELL, "recovery", "task", "subset", "layer", "metric", "value"])

    @cached_property
    def similarity(self) -> pandas.DataFrame:
        return self._parquet("similarity.parquet", [*CELL, "recovery", "task", "subset", "layer", "metric", "value"])

    @cached_property
    def rounds(self) -> Rounds:
        """The times of every round of the latency measurement."""
        path = self.folder / "latency.parquet"
        if not path.exists():
            raise PalimpsestError(f"{path}: there is no such file; run the study first (make study).")
        return Rounds.read(path)

    @cached_property
    def claims(self) -> list[dict]:
        found = read_json(self.folder / "claims.json") if (self.folder / "claims.json").exists() else []
        return found["claims"] if isinstance(found, dict) else found

    @cached_property
    def leaks(self) -> pandas.DataFrame:
        """A row a text and task (leaks/study.py); none where the study reads no text."""
        path = self.folder / "leaks.csv"
        return pandas.read_csv(path, keep_default_na=False) if path.exists() else pandas.DataFrame({"contained": []})

    @cached_property
    def times(self) -> list[times.Stage]:
        # While the report is made its own jobs are still running: which of them have ended is chance.
        return times.collect(self.folder / "times", without=("report",)) if (self.folder / "times").is_dir() else []

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells: models as the study names them, dense first, then by family, label and level (mild to harsh)."""
        found = {Cell(*row) for row in self.metrics[CELL].drop_duplicates().itertuples(index=False, name=None)}
        models = list(dict.fromkeys(self.metrics["model"]))
        labels = list(self.labels)
        families = list(dict.fromkeys(style.FAMILIES.values()))

        def place(cell: Cell) -> tuple:
            row = (models.index(cell.model), not cell.is_dense, families.index(family(cell)), labels.index(cell.label))
            return (*row, severity(cell.level), cell.seed)

        return sorted(found, key=place)

    @cached_property
    def calibrations(self) -> dict[Cell, str]:
        """The cells that were calibrated on a text, with the name of their calibration."""
        rows = self.metrics[self.metrics["metric"] == "calibration_tokens"]
        names = {Cell(*row): name for *row, name in rows[[*CELL, "subset"]].itertuples(index=False, name=None)}
        return {cell: names[cell] for cell in self.cells if cell in names}

    @cached_property
    def allocations(self) -> dict[Cell, str]:
        """The cells that selective compression is about, with the name of their allocation (allocated.py)."""
        rows = self.metrics[self.metrics["metric"] == "allocated"]
        names = {Cell(*row): name for *row, name in rows[[*CELL, "subset"]].itertuples(index=False, name=None)}
        return {cell: names[cell] for cell in self.cells if cell in names}

    @cached_property
    def labels(self) -> dict[str, str]:
        """label -> method; known methods in the order of the palette, then the others by name."""
        pairs = self.metrics[["label", "method"]].drop_duplicates().itertuples(index=False, name=None)
        known = list(style.METHODS)

        def place(pair: tuple[str, str]) -> tuple:
            label, method = pair
            return known.index(method) if method in known else len(known), method, label != method, label

        return dict(sorted(pairs, key=place))

    @cached_property
    def looks(self) -> dict[str, style.Look]:
        return style.looks([pair for pair in self.labels.items() if pair[0] != "dense"])

    @property
    def models(self) -> list[str]:
        """Models that were compressed; the others are controls."""
        return list(dict.fromkeys(cell.model for cell in self.cells if not cell.is_dense))

    @cached_property
    def recovered(self) -> dict[Cell, list[str]]:
        """Cells with their recoveries."""
        rows = self.metrics.loc[self.metrics["recovery"] != "none", [*CELL, "recovery"]].drop_duplicates()
        names = {tuple(row[:-1]): [] for row in rows.itertuples(index=False, name=None)}
        for *cell, recovery in rows.sort_values("recovery").itertuples(index=False, name=None):
            names[tuple(cell)].append(recovery)
        return {
            cell: names[key] for cell in self.cells if (key := tuple(getattr(cell, part) for part in CELL)) in names
        }

    @cached_property
    def recovery_task(self) -> str | None:
        """The task that recoveries are judged by: closed book, or the first that a recovered model answers."""
        from palimpsest.presentation import quantities

        asked = [quantities.CLOSED_BOOK, *quantities.accuracies(self)]
        for quantity in asked:
            if self.has(quantity) and any(cell in self.recovered for cell in self.answering(quantity.task)):
                return quantity.task
        return None

    @cached_property
    def recoveries(self) -> dict[Cell, list[str]]:
        """The same without the twins of cross-fitted recoveries, which differ from them by the people of their text;
        of cells that answer `recovery_task`, without a recovery too."""
        answering = set(self.cells if self.recovery_task is None else self.answering(self.recovery_task))
        return {
            cell: [name for name in names if not name.endswith(SWAPPED)]
            for cell, names in self.recovered.items()
            if cell in answering
        }

    @cached_property
    def arms(self) -> dict[str, str]:
        """recovery -> what it can say on displacement (analysis/arms.py)."""
        rows = self.metrics[self.metrics["metric"] == "arm"]
        return dict(zip(rows["recovery"], rows["subset"], strict=True))

    def similar(self, task: str, metric: str, cell: Cell, recovery: str) -> dict[tuple[str, str], Number]:
        """(layer, subset) -> likeness of a variant to another model (similarity/study.py)."""
        rows = self.similarity
        rows = rows[(rows["task"] == task) & (rows["metric"] == metric) & (rows["recovery"] == recovery)]
        return self.by_layer(rows, cell, f"{task}/{metric}", "similarity.parquet", recovery)

    def by_layer(
        self, rows: pandas.DataFrame, cell: Cell, what: str, file: str, recovery: str = "none"
    ) -> dict[tuple[str, str], Number]:
        """(layer, subset) -> what rows of one metric say of a cell; nothing there is an error that names it."""
        rows = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
        if rows.empty:
            variant = cell.id if recovery == "none" else f"{cell.id}/{recovery}"
            raise PalimpsestError(
                f"{self.folder / file}: {what} is missing for {variant}. Run the study until it is done."
            )
        columns = ("layer", "subset", "value", "low", "high", "n")
        return {(layer, part): Number(*found) for layer, part, *found in zip(*map(rows.get, columns), strict=True)}

    def dense(self, model: str) -> Cell:
        for cell in self.cells:
            if cell.is_dense and cell.model == model:
                return cell
        raise PalimpsestError(f"{self.folder / 'metrics.parquet'}: the dense control {model}/dense/full/s0 is missing.")

    def has(self, quantity: Quantity) -> bool:
        return bool(self._rows(quantity).any())

    def _rows(self, quantity: Quantity) -> pandas.Series:
        metrics = self.metrics
        chosen = (
            (metrics["task"] == quantity.task)
            & (metrics["metric"] == quantity.metric)
            & (metrics["subset"] == quantity.subset)
        )
        return chosen & (metrics["scoring"] == quantity.scoring) if quantity.scoring is not None else chosen

    def answering(self, task: str) -> list[Cell]:
        """The cells of the models that answer a task: an encoder answers what it was fine-tuned for, if anything."""
        rows = self.metrics[(self.metrics["task"] == task) & (self.metrics["recovery"] == "none")]
        models = set(rows["model"])
        return [cell for cell in self.cells if cell.model in models]

    def numbers(
        self, quantity: Quantity, cells: Iterable[Cell] | None = None, recovery: str = "none"
    ) -> dict[Cell, Number]:
        """The quantity of every cell whose model answers the task. A cell without it is an error that names it, never
        left out or averaged over."""
        rows = self.metrics[self._rows(quantity) & (self.metrics["recovery"] == recovery)]
        return self._one_each(
            rows,
            self.answering(quantity.task) if cells is None else list(cells),
            f"{quantity}",
            "metrics.parquet",
            quantity.may_lack_verdict,
        )

    def where_it_stands(self, quantity: Quantity, recovery: str = "none") -> dict[Cell, Number]:
        """A quantity that only some cells have by its nature, of those cells."""
        rows = self.metrics[self._rows(quantity) & (self.metrics["recovery"] == recovery)]
        there = {Cell(*row) for row in rows[CELL].itertuples(index=False, name=None)}
        return self.numbers(quantity, [cell for cell in self.cells if cell in there], recovery)

    def measured(self, metric: str, cells: Iterable[Cell] | None = None, recovery: str = "none") -> dict[Cell, Number]:
        """A measurement of every cell, e.g. `bytes_total`."""
        rows = self.measurements
        rows = rows[(rows["metric"] == metric) & (rows["recovery"] == recovery)]
        return self._one_each(rows, self.cells if cells is None else list(cells), metric, "measurements.parquet")

    def timed(self, metric: str, context: int, cell: Cell, recovery: str = "none") -> Number | None:
        """A time or a ratio of times at a context (measurement/study.py); None where it was not measured."""
        rows = self.measurements
        rows = rows[(rows["metric"] == metric) & (rows["context"] == context) & (rows["recovery"] == recovery)]
        rows = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
        return next((Number(*row) for row in zip(*map(rows.get, ("value", "low", "high", "n")), strict=True)), None)

    def contexts(self, model: str) -> list[int]:
        """The lengths of prompts that times of a model were measured at."""
        rows = self.measurements
        rows = rows[(rows["metric"] == "prefill_ms") & (rows["model"] == model)]
        return sorted(map(int, rows["context"].unique())) if "context" in rows else []

    @property
    def probe_tasks(self) -> list[str]:
        return sorted(set(self.probes["task"]))

    def probe_layers(self, task: str, model: str) -> list[int]:
        rows = self.probes
        return sorted({int(layer) for layer in rows.loc[(rows["task"] == task) & (rows["model"] == model), "layer"]})

    def probed(
        self,
        task: str,
        layer: int,
        metric: str,
        cells: Iterable[Cell],
        subset: str = "all",
        scoring: str | None = None,
    ) -> dict[Cell, Number]:
        """A probe's metric on these cells without recovery; over all attributes if no `subset` is named."""
        rows = self.probes
        rows = rows[(rows["task"] == task) & (rows["layer"].astype(int) == layer) & (rows["metric"] == metric)]
        rows = rows[(rows["subset"] == subset) & (rows["recovery"] == "none")]
        rows = rows if scoring is None else rows[rows["scoring"] == scoring]
        # Not a number: too few people of each class for a probe.
        return self._one_each(rows, list(cells), f"{task}/{metric}/layer {layer}", "probes.parquet", nan=True)

    def probe_floor(self, task: str, layer: int, model: str) -> Number:
        """What the probe reads from a model of the same shape with random weights."""
        twin = Cell(model, "random", "random", "full", 0)
        return self.probed(task, layer, "acc", [twin])[twin]

    def extra_parameters(self, cell: Cell, recovery: str) -> float | None:
        """Parameters that a recovery adds to a cell, where they were measured."""
        rows = self.measurements
        rows = rows[(rows["metric"] == "parameters_extra") & (rows["recovery"] == recovery)]
        same = (rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)
        return float(rows.loc[same, "value"].iloc[0]) if same.any() else None

    def bits_per_weight(self, level: str) -> str:
        """Bits per weight of compressed matrices at a level, in words for an axis; a range where its cells differ."""
        rows = self.measurements
        rows = rows[(rows["metric"] == "bits_per_weight") & (rows["level"] == level) & (rows["recovery"] == "none")]
        rounded = list(dict.fromkeys(f"{value:.3g}" for value in sorted(rows["value"])))
        return "–".join(rounded[:1] + rounded[1:][-1:])

    def _one_each(
        self, rows: pandas.DataFrame, cells: list[Cell], what: str, file: str, nan: bool = False
    ) -> dict[Cell, Number]:
        found: dict[Cell, Number] = {}
        wanted = set(cells)
        columns = [column for column in ("low", "high", "n") if column in rows]
        for row in rows[[*CELL, "value", *columns]].to_dict("records"):
            cell = Cell(*(row[part] for part in CELL))
            if cell in found and cell in wanted:
                raise PalimpsestError(
                    f"{self.folder / file}: {what} of {cell.id} stands there twice; one row was expected."
                )
            n = row.get("n")
            found[cell] = Number(
                row["value"], row.get("low", float("nan")), row.get("high", float("nan")), int(n) if n == n and n else 0
            )
        missing = [
            cell.id for cell in cells if cell not in found or (found[cell].value != found[cell].value and not nan)
        ]
        if missing:
            raise PalimpsestError(
                f"{self.folder / file}: {what} is missing for {len(missing)} of {len(cells)} cells: "
                f"{', '.join(missing[:8])}{' …' if len(missing) > 8 else ''}. "
                "Nothing is averaged over what is there: run the study until these are done."
            )
        return {cell: found[cell] for cell in cells}

    def expect(self, cells: Iterable[str]) -> None:
        """Fail if a cell `atlas/gptq/4/s0` of the study is not in the metrics at all."""
        have = {cell.id for cell in self.cells}
        if missing := [cell for cell in cells if cell not in have]:
            raise PalimpsestError(
                f"{self.folder / 'metrics.parquet'}: missing cells: {', '.join(missing)}. Run the study again."
            )
