"""What calibration text does to what a cell still knows: by the content of the text, or by saying the very facts.

A method and level is calibrated on the biographies of half_a of the people (A) and on those of half_b (B); y is a
right answer, Δ its change against the dense model. With each half's questions answered under both,

    leakage = ½ {[Δ_A(half_a) − Δ_A(half_b)] − [Δ_B(half_a) − Δ_B(half_b)]}
            = ½ {mean over half_a of (y_A − y_B) + mean over half_b of (y_B − y_A)},

the mean advantage of a person whom the calibration speaks of: that one half is easier, or one text better, cancels, and
so does the dense model. What is left for text of that kind, without the facts that are asked for, is its content. It is
measured against another calibration G of the same method and level:

    content over G = ½ {mean over half_a of (y_B − y_G) + mean over half_b of (y_A − y_G)}.

Both are means over the seeds of the samples. Their intervals are bootstrapped over people, within each half, and
widened by how much samples of one text differ beyond the noise of single answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas

from palimpsest.analysis import intervals, seeds
from palimpsest.analysis.answers import VARIANT
from palimpsest.halves import HALVES, half
from palimpsest.provenance import read_json

if TYPE_CHECKING:
    from palimpsest.grid import Cell, Grid

OWN = dict(zip(HALVES, (f"biographies_{name}" for name in HALVES), strict=True))  # half -> the text about it
COLUMNS = [*VARIANT, "task", "subset", "metric", "value", "low", "high", "n"]


@dataclass(frozen=True)
class Calibrated:
    """A label at a level, with its calibration and everything else that makes it."""

    model: str
    label: str
    method: str
    level: str
    recipe: str  # method, options and all that two calibrations must have in common to be compared
    name: str  # of the calibration
    text: str  # kind of text; empty for a file or a task
    size: tuple[int, int]  # samples, length


def calibrated(grid: Grid) -> dict[Cell, Calibrated]:
    """The cells of a study that a text was calibrated on."""
    found = {}
    for cell in dict.fromkeys(variant.cell for variant in grid.variants()):
        needed = grid.calibration(cell)
        if needed is None:
            continue
        name, _ = needed
        text = grid.study.calibration[name]
        recipe = {key: value for key, value in grid.settings(cell).items() if key != "calibration"}
        found[cell] = Calibrated(
            cell.model, cell.label, cell.method, cell.level,
            recipe=json.dumps([cell.model, cell.level, recipe], sort_keys=True),
            name=name,
            text=text.text if isinstance(text.text, str) else "",
            size=(text.samples, text.length),
        )  # fmt: skip
    return found


def leakage(on_a: pandas.DataFrame, on_b: pandas.DataFrame, people: pandas.Series) -> intervals.Estimate:
    """Own half minus other half. `on_a`, `on_b`: right answers under calibration on each half, a row a question and a
    column a seed; `people`: whose question it is, by question."""
    a, b = HALVES
    return _estimate([(0.5, on_a, a), (-0.5, on_b, a), (0.5, on_b, b), (-0.5, on_a, b)], people)


def content(
    on_a: pandas.DataFrame, on_b: pandas.DataFrame, other: pandas.DataFrame, people: pandas.Series
) -> intervals.Estimate:
    """Calibration on the other half minus calibration on `other`; as in `leakage`."""
    a, b = HALVES
    return _estimate([(0.5, on_b, a), (-0.5, other, a), (0.5, on_a, b), (-0.5, other, b)], people)


def seed_mean(right: pandas.DataFrame, people: pandas.Series) -> intervals.Estimate:
    """The share of right answers, mean over questions and seeds."""
    found = _estimate([(1.0, right, None)], people)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _estimate(terms: Sequence[tuple[float, pandas.DataFrame, str | None]], people: pandas.Series) -> intervals.Estimate:
    """A sum of weighted means, each of some answers over the questions about one half of the people (None: about all),
    with its interval."""
    halves = people.map(half)
    parts = {name: people[halves == name] if name else people for name in dict.fromkeys(term[2] for term in terms)}
    return seeds.weighted_means([(weight, right, parts[name]) for weight, right, name in terms])


def contrasts(answers: pandas.DataFrame, cells: Mapping[Cell, Calibrated]) -> pandas.DataFrame:
    """Rows of metrics for every task that asks about people, over the facts that training texts say (subset "shown").

    `seed_mean` is the share of right answers, the mean over the seeds of the samples. `calibration_leakage` stands at
    the cells of both halves, `calibration_content` at those of every other calibration. Each has the same value for
    every seed. Halves belong together if method, options, level, samples and length
    are equal; a calibration of another size is compared with the study's first such pair.
    """
    plain = answers[(answers["recovery"] == "none") & answers["correct"].notna() & (answers["subset"] != "never_shown")]
    labels = list(dict.fromkeys(cells.values()))
    rows: list[dict] = []
    for task, asked in plain.groupby("task", sort=True):
        if (asked["person"] == "").any():
            continue
        people = asked.drop_duplicates("question").set_index("question")["person"].sort_index()
        right = {
            key: found.pivot(index="question", columns="seed", values="correct")
            for key, found in asked.groupby(["model", "label", "level"])
        }
        answering = [label for label in labels if (label.model, label.label, label.level) in right]  # encoders do not
        for metric, label, estimate in _contrasts(answering, right, people):
            key = (label.model, label.label, label.level)
            name = {"model": label.model, "label": label.label, "method": label.method, "level": label.level}
            shared = name | {"recovery": "none", "task": task, "subset": "shown", "metric": metric} | estimate.row()
            rows += [shared | {"seed": seed} for seed in right[key].columns]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _contrasts(labels: list[Calibrated], right: Mapping[tuple, pandas.DataFrame], people: pandas.Series):
    """(metric, label that it stands at, estimate), recipe by recipe."""

    def answered(label: Calibrated) -> pandas.DataFrame:
        return right[label.model, label.label, label.level]

    for label in labels:
        yield "seed_mean", label, seed_mean(answered(label), people)
    for recipe in dict.fromkeys(label.recipe for label in labels):
        alike = [label for label in labels if label.recipe == recipe]
        pairs = _pairs(alike)
        for on_a, on_b in pairs.values():
            estimate = leakage(answered(on_a), answered(on_b), people)
            yield from (("calibration_leakage", label, estimate) for label in (on_a, on_b))
        for other in alike if pairs else ():
            if other.text not in OWN.values():
                on_a, on_b = pairs.get(other.size) or next(iter(pairs.values()))
                yield "calibration_content", other, content(answered(on_a), answered(on_b), answered(other), people)


def _pairs(labels: Iterable[Calibrated]) -> dict[tuple[int, int], tuple[Calibrated, Calibrated]]:
    """size -> the labels calibrated on half_a and on half_b, where there are both."""
    by_size: dict[tuple[int, int], dict[str, Calibrated]] = {}
    for label in labels:
        if label.text in OWN.values():
            by_size.setdefault(label.size, {}).setdefault(label.text, label)
    return {size: tuple(found[OWN[name]] for name in HALVES) for size, found in by_size.items() if len(found) == 2}


def tokens(results: Path, grid: Grid, cells: Iterable[Cell]) -> pandas.DataFrame:
    """`calibration_tokens` of each cell, with the calibration's name as subset: what figures sort cells by."""
    rows = []
    for cell in cells:
        name, seed = grid.calibration(cell)
        folder = results / Path(grid.calibration_folder(cell.model, name, seed)).relative_to(grid.results)
        count = read_json(folder / "calibration.json")["tokens"]
        row = {"model": cell.model, "label": cell.label, "method": cell.method, "level": cell.level, "seed": cell.seed}
        row |= {"recovery": "none", "task": "", "subset": name, "metric": "calibration_tokens"}
        rows.append(row | {"value": float(count), "low": np.nan, "high": np.nan, "n": count})
    return pandas.DataFrame(rows, columns=COLUMNS)
