"""What probes of sentences read from the last layer where one matrix is compressed.

Rows of metrics, task the probe, scoring "sensitivity":

    sensitivity_probe          by how much accuracy falls where the probe is trained anew on the spliced model's
                               states: what they no longer hold
    sensitivity_probe_frozen   where the probe that the dense model's states trained reads them: that, and what moved
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch

from palimpsest.analysis.intervals import paired_difference
from palimpsest.compression.weights import CompressedWeight
from palimpsest.probing.data import read_probe
from palimpsest.probing.kinds import kind
from palimpsest.probing.outcome import Outcome
from palimpsest.representation.reading import Watched
from palimpsest.representation.sensitivity import ALL, SCORING, spliced
from palimpsest.representation.table import row
from palimpsest.settings import Probe

POOLING = "mean"


class LastLayer:
    """A probe on the last layer of a model, on at most so many rows of its data, evenly spread."""

    def __init__(self, watched: Watched, tokenizer, folder: Path, most: int) -> None:
        definition, rows = read_probe(folder)
        self.name, self.kind = definition["probe"], kind(definition["kind"])
        self.rows = rows if len(rows) <= most else [rows[number * len(rows) // most] for number in range(most)]
        self.watched, self.tokenizer = watched, tokenizer
        self.options = Probe(layers=[len(watched.blocks)], pooling=[POOLING], classifiers=["linear"])
        self.tested = np.array([row["split"] == "test" for row in self.rows])

    def states(self) -> np.ndarray:
        """Of the model as it is now, (layers + 1, rows, width), as they are stored."""
        with torch.inference_mode():
            found = self.kind.extract(self.watched.model, self.tokenizer, self.rows, self.options)[POOLING]
        return found.to(torch.float16).cpu().numpy()

    def outcome(self, states: np.ndarray) -> Outcome:
        (found,) = self.kind.outcomes({POOLING: states}, self.rows, self.options)
        return found

    def frozen(self, trained_on: np.ndarray, tested_on: np.ndarray) -> Outcome:
        """Trained on the states of one model, tested on those of another."""
        return self.outcome(np.where(self.tested[:, None], tested_on, trained_on))


def probe_drops(
    watched: Watched, compressed: Mapping[str, CompressedWeight], tokenizer, folder: Path, most: int
) -> Iterator[dict[str, Any]]:
    """Rows of every matrix that the cell compressed, and of all together."""
    probe = LastLayer(watched, tokenizer, folder, most)
    dense = probe.states()
    before = probe.outcome(dense)
    alone = [(place.block, place.name, [place.path]) for place in watched.matrices if place.path in compressed]
    for layer, name, paths in [*alone, (ALL, ALL, list(compressed))]:
        with spliced(watched, {path: compressed[path] for path in paths}):
            now = probe.states()
        for metric, after in (
            ("sensitivity_probe", probe.outcome(now)),
            ("sensitivity_probe_frozen", probe.frozen(dense, now)),
        ):
            yield row(probe.name, SCORING, layer, metric, _fall(before, after), name)


def _fall(before: Outcome, after: Outcome) -> dict[str, float | int]:
    """By how much accuracy falls, paired by row."""
    if list(before.rows) != list(after.rows):
        raise ValueError("a probe's test rows changed between two models")
    change = pandas.Series(np.asarray(before.values) - np.asarray(after.values))
    return paired_difference(change, pandas.Series(before.clusters)).row()
