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
from palimpsest.probing import sentences
from palimpsest.probing.classifiers import Classifier, fit
from palimpsest.probing.data import read_probe
from palimpsest.provenance import PalimpsestError
from palimpsest.representation.reading import Watched
from palimpsest.representation.sensitivity import ALL, SCORING, spliced
from palimpsest.representation.table import row
from palimpsest.settings import Probe

POOLING = "mean"


class LastLayer:
    """A probe of sentences on the last layer of a model, on at most so many rows of its data, evenly spread."""

    def __init__(self, watched: Watched, tokenizer, folder: Path, most: int) -> None:
        definition, rows = read_probe(folder)
        self.name = definition["probe"]
        if definition["kind"] != "sentence":
            raise PalimpsestError(f"{folder}: {self.name} is a probe of kind {definition['kind']}, not sentence.")
        self.rows = rows if len(rows) <= most else [rows[number * len(rows) // most] for number in range(most)]
        self.watched, self.tokenizer = watched, tokenizer
        self.labels = np.array([row["label"] for row in self.rows])
        self.ids = pandas.Series([row["id"] for row in self.rows])
        split = np.array([row["split"] for row in self.rows])
        self.train, self.held, self.test = (split == part for part in ("train", "validation", "test"))

    def states(self) -> np.ndarray:
        """Of the model as it is now, (rows, width)."""
        with torch.inference_mode():
            found = sentences.extract(self.watched.model, self.tokenizer, self.rows, Probe(pooling=[POOLING]))
        return found[POOLING][-1].float().numpy()

    def trained(self, states: np.ndarray) -> Classifier:
        held = (states[self.held], self.labels[self.held])
        return fit("linear", states[self.train], self.labels[self.train], held)

    def right(self, classifier: Classifier, states: np.ndarray) -> np.ndarray:
        """Whether it is right, on each test row."""
        return (classifier.predict(states[self.test]) == self.labels[self.test]).astype(float)

    def fall(self, before: np.ndarray, after: np.ndarray) -> dict[str, float | int]:
        """By how much accuracy falls, paired by row."""
        return paired_difference(pandas.Series(before - after), self.ids[self.test].reset_index(drop=True)).row()


def probe_drops(
    watched: Watched, compressed: Mapping[str, CompressedWeight], tokenizer, folder: Path, most: int
) -> Iterator[dict[str, Any]]:
    """Rows of every matrix that the cell compressed, and of all together."""
    probe = LastLayer(watched, tokenizer, folder, most)
    dense = probe.states()
    frozen = probe.trained(dense)
    before = probe.right(frozen, dense)
    alone = [(place.block, place.name, [place.path]) for place in watched.matrices if place.path in compressed]
    for layer, name, paths in [*alone, (ALL, ALL, list(compressed))]:
        with spliced(watched, {path: compressed[path] for path in paths}):
            now = probe.states()
        for metric, reader in (("sensitivity_probe", probe.trained(now)), ("sensitivity_probe_frozen", frozen)):
            yield row(probe.name, SCORING, layer, metric, probe.fall(before, probe.right(reader, now)), name)
