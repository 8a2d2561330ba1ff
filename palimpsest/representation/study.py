"""One cell beside its dense model: CKA, spectra and logit lens, as rows of metrics and points of spectra.

`layer` is the state after that block (0 the embeddings); of a matrix, its block (1 is the first).

    scoring "cka"         cka: of the dense model's layer (subset "dense layer 2") with the cell's; cka_permuted: of
                          the same layers where the cell's examples are permuted. The dense model has rows beside
                          itself, and beside random weights (label "random").
    scoring "weight", "input", "output"    of a matrix (subset), of what goes into it, of what comes out of it:
                          effective_rank, energy_rank_90, energy_rank_99, and `…_share` of the full rank, which is `n`
    scoring "logit_lens"  lens_kl, lens_top1, lens_top1_dense, lens_cross_entropy (lens.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from palimpsest import loading
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.evaluation import definition
from palimpsest.evaluation.data import read_task
from palimpsest.finetuning.examples import encode, of_row
from palimpsest.finetuning.head import classes_of
from palimpsest.probing.states import room
from palimpsest.provenance import atomic_file
from palimpsest.representation import spectra
from palimpsest.representation.batches import batches, masked_batches, read_texts, token_rows
from palimpsest.representation.lens import Looking, lens_of
from palimpsest.representation.probed import probe_drops
from palimpsest.representation.reading import Watched
from palimpsest.representation.sensitivity import sensitivities
from palimpsest.representation.similar_layers import Examples, cka_map, permuted
from palimpsest.representation.spectra import Activations, singular_values
from palimpsest.representation.table import COLUMNS, bounded, row

POINTS = (*COLUMNS[:10], "place", "value")
BOUNDS = {"lens_kl": (0, np.inf), "lens_cross_entropy": (0, np.inf)}  # else shares


@dataclass(frozen=True)
class Source:
    """Texts that are read: the folder of a task or of a probe of sentences, and how many at most."""

    folder: Path
    texts: int

    @property
    def name(self) -> str:
        return self.folder.name

    def rows(self, tokenizer, watched: Watched) -> list[list[int]]:
        return token_rows(tokenizer, read_texts(self.folder), self.texts, room(watched.model), self.name)

    def asked(self, tokenizer, watched: Watched) -> tuple[list[list[int]], list[list[int]] | None]:
        """The rows as the model's head is asked, with their types: a classifier reads what it was fine-tuned on."""
        if classes_of(watched.model) is None or (self.folder / "rows.jsonl").is_file():
            return self.rows(tokenizer, watched), None
        wanted, rows = read_task(self.folder)
        said = definition.ours(wanted)
        if "classify" not in said:
            return self.rows(tokenizer, watched), None
        rows = rows if len(rows) <= self.texts else [rows[n * len(rows) // self.texts] for n in range(self.texts)]
        encoded = encode([of_row(row, said)[0] for row in rows], tokenizer, watched.model)
        types = None if encoded[0].types is None else [row.types for row in encoded]
        return [row.ids for row in encoded], types


def represent(
    model_folder: Path,
    cell_folder: Path | None,
    who: Mapping[str, Any],
    sources: Sequence[Source],
    output: Path,
    points: Path,
) -> None:
    """Write the metrics and the points of spectra of a cell; of the dense model itself where `cell_folder` is None."""
    dense, tokenizer = loading.load(model_folder)
    cells = [(dict(who), loading.load(cell_folder)[0] if cell_folder else dense)]
    if cell_folder is None:
        cells.append((dict(who) | {"label": "random", "method": "random"}, loading.random_twin(model_folder)[0]))
    rows, curves = [], []
    for name, cell in cells:
        pair = Watched(dense), Watched(cell)
        spectrum = {("", "weight", place.block, place.name): weight for place, weight in weights(pair[1])}
        for source in sources:
            texts = source.rows(tokenizer, pair[0])
            compared, activations = compare(*pair, texts, source.name)
            rows += [name | each for each in compared]
            rows += [name | each for each in looked(*pair, texts, tokenizer, source.name)]
            spectrum |= {(source.name, *key): found for key, found in activations.items()}
        for key, (values, full) in spectrum.items():
            rows += [name | each for each in ranks(*key, values, full)]
            curves += [name | each for each in points_of(*key, values)]
    _write(rows, COLUMNS, output)
    _write(curves, POINTS, points)


def splice(
    model_folder: Path,
    cell_folder: Path,
    who: Mapping[str, Any],
    texts: Source,
    probes: Sequence[Path],
    rows: int,
    output: Path,
) -> None:
    """Write the rows of every matrix of a cell, alone in the dense model; of each probe `rows` rows are read."""
    model, tokenizer = loading.load(model_folder)
    dense, compressed = Watched(model), read_layers(cell_folder, read_record(cell_folder))
    rows_, types = texts.asked(tokenizer, dense)
    found = list(sensitivities(dense, compressed, rows_, texts.name, types))
    for probe in probes:
        found += probe_drops(dense, compressed, tokenizer, probe, rows)
    _write([dict(who) | each for each in found], COLUMNS, output)


def compare(
    dense: Watched, cell: Watched, texts: Sequence[Sequence[int]], task: str
) -> tuple[list[dict[str, Any]], dict[tuple[str, int, str], tuple[np.ndarray, int]]]:
    """Rows of CKA; and singular values with full rank of what the cell's matrices see ("input") and say ("output").

    The latter by (part, block, matrix).
    """
    of_dense, of_cell = Examples(), Examples()
    seen: dict[tuple[str, int, str], Activations] = {}
    first = {layer: group[0] for group in cell.names_of_groups for layer in group}

    def add_input(place, states):
        if first[place.name] == place.name:  # matrices that share an input have one
            seen.setdefault(("input", place.block, place.name), Activations()).add(states)

    def add_output(place, states):
        seen.setdefault(("output", place.block, place.name), Activations()).add(states)

    for batch in batches(texts):
        of_dense.add(batch, dense.states(batch))
        with cell.watching(batch, add_input, add_output):
            of_cell.add(batch, cell.states(batch))
    for block in range(1, len(cell.blocks) + 1):
        seen |= {("input", block, layer): seen["input", block, other] for layer, other in first.items()}
    # What comes out of a matrix has no more directions than go in.
    shape = {("output", place.block, place.name): min(cell.weight(place).shape) for place in cell.matrices}
    spectrum = {
        key: (found.singular_values()[: shape.get(key)], min(found.full_rank, shape.get(key, found.full_rank)))
        for key, found in seen.items()
    }
    return list(_similar(of_dense, of_cell, task)), spectrum


def _similar(dense: Examples, cell: Examples, task: str) -> Iterator[dict[str, Any]]:
    shuffled = permuted(dense, cell)
    for number, of_layer in enumerate(cka_map(dense, cell)):
        for layer, statistic in enumerate(of_layer):
            place = {"task": task, "scoring": "cka", "layer": layer, "subset": f"dense layer {number}"}
            yield row(**place, metric="cka", estimated=bounded(statistic, -1, 1))
            if layer == number:
                yield row(**place, metric="cka_permuted", estimated=bounded(shuffled[number, layer], -1, 1))


def looked(
    dense: Watched, cell: Watched, texts: Sequence[Sequence[int]], tokenizer, task: str
) -> Iterator[dict[str, Any]]:
    """Rows of the logit lens; none of a model without a head that predicts words."""
    lenses = lens_of(cell), lens_of(dense)
    if None in lenses:
        return
    looking = Looking(*lenses)
    for batch in batches(texts) if cell.family.causal else masked_batches(texts, tokenizer):
        looking.add(batch, cell.states(batch), dense.states(batch))
    for metric, of_layers in looking.statistics().items():
        for layer, statistic in enumerate(of_layers):
            yield row(task, "logit_lens", layer, metric, bounded(statistic, *BOUNDS.get(metric, (0, 1))))


def weights(watched: Watched) -> Iterator[tuple[Any, tuple[np.ndarray, int]]]:
    """Each matrix with its singular values and its full rank."""
    for place in watched.matrices:
        weight = watched.weight(place)
        yield place, (singular_values(weight), min(weight.shape))


def ranks(task: str, part: str, block: int, matrix: str, values: np.ndarray, full: int) -> Iterator[dict[str, Any]]:
    for metric, value in spectra.measures(values).items():
        for name, number in ((metric, value), (f"{metric}_share", value / full)):
            exact = {"value": number, "low": float("nan"), "high": float("nan"), "n": full}
            yield row(task, part, block, name, exact, matrix)


def points_of(task: str, part: str, block: int, matrix: str, values: np.ndarray) -> Iterator[dict[str, Any]]:
    name = {"recovery": "none", "task": task, "subset": matrix, "scoring": part, "layer": str(block)}
    for place, value in spectra.curve(values):
        yield name | {"place": place, "value": value}


def _write(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    with atomic_file(path) as temporary:
        pandas.DataFrame(rows, columns=list(columns)).to_parquet(temporary, index=False, compression="zstd")
