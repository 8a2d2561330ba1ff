"""All recoveries of a study into `similarity.parquet`.

Rows of metrics, scoring "similarity": `layer` is the block (1 is the first), or "all" for the mean over blocks;
`subset` is "all", or "head 0", "head 1", … of attention. Each measure stands there as

    …_to_dense        how near the variant is to the dense model
    …_to_cell         how near a recovery is to the cell that it was put on
    …_towards_dense   by how much a recovery is nearer to the dense model than its cell alone, on the same texts

for `attention_cosine`, `attention_js` (a divergence in bits: small is near; `attention_js_towards_dense` is positive
where it falls), `activation_cosine` and `activation_cka`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas

from palimpsest import loading
from palimpsest.evaluation.texts import prompts
from palimpsest.grid import NONE, Variant
from palimpsest.provenance import PalimpsestError, atomic_file
from palimpsest.settings import SWAPPED
from palimpsest.similarity.measures import cosine, estimate, jensen_shannon, linear_cka, means
from palimpsest.similarity.reading import Reader, Reading

if TYPE_CHECKING:
    from palimpsest.grid import Cell, Grid

COLUMNS = ("model", "label", "method", "level", "seed", "recovery", "task", "subset", "scoring", "layer", "metric")
COLUMNS += ("value", "low", "high", "n")
MOST_TOKENS = 256  # of a text; half of the model's context where that is less
EXAMPLES = 4  # tokens of a text, evenly spread up to the last, that are examples of CKA
FEWEST_TEXTS = 10
KEPT_BYTES = 4 * 2**30  # models at a time, where there are more than the three that are compared
BOUNDS = {"attention_cosine": (0.0, 1.0), "attention_js": (0.0, 1.0), "activation_cosine": (-1.0, 1.0),
          "activation_cka": (-1.0, 1.0)}  # fmt: skip
Statistics = dict[str, np.ndarray]  # measure -> (layers, heads, texts + 1), or (layers, 1, texts + 1) of activations


@dataclass
class Pair:
    """What was measured of two models on each text."""

    of_texts: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    def add(self, a: Reading, b: Reading) -> None:
        self.of_texts["attention_cosine"].append(cosine(a.attention, b.attention).numpy())
        self.of_texts["attention_js"].append(jensen_shannon(a.attention, b.attention).numpy())
        self.of_texts["activation_cosine"].append(cosine(a.activations, b.activations)[:, None].numpy())

    def statistics(self, a: Examples, b: Examples) -> Statistics:
        found = {measure: means(np.stack(values).astype(np.float64)) for measure, values in self.of_texts.items()}
        layers = zip(a.states(), b.states(), strict=True)
        return found | {"activation_cka": np.stack([linear_cka(*pair, a.texts)[None] for pair in layers])}


@dataclass
class Examples:
    """Activations of one model at a few tokens of each text."""

    of_texts: list[np.ndarray] = field(default_factory=list)  # (layers, tokens, width)

    def add(self, reading: Reading) -> None:
        length = reading.activations.shape[1]
        places = np.unique(np.linspace(length - 1, 0, EXAMPLES, endpoint=False).round().astype(int))
        self.of_texts.append(reading.activations[:, places].numpy())

    def states(self) -> np.ndarray:
        """(layers, examples, width)."""
        return np.concatenate(self.of_texts, axis=1)

    @property
    def texts(self) -> np.ndarray:
        """(examples,), the number of the text that each comes from."""
        return np.repeat(np.arange(len(self.of_texts)), [states.shape[1] for states in self.of_texts])


def compare(results: Path, grid: Grid, tasks: Sequence[str], texts: int, output: Path) -> None:
    """Compare every recovery, and the cells that have one, on `texts` texts of each task; write the table."""
    recovered: dict[Cell, list[Variant]] = {}
    for variant in grid.variants():
        if variant.recovery != NONE and not variant.recovery.endswith(SWAPPED):
            recovered.setdefault(variant.cell, []).append(variant)
    rows: list[dict[str, Any]] = []
    dense: dict[str, Reader] = {}
    for cell, variants in recovered.items():
        model = results / "models" / cell.model
        if cell.model not in dense:
            dense = {cell.model: _reader(model)}  # of one model at a time
        control = dense[cell.model]
        alone = control if cell.is_dense else _reader(Path(cell.folder(str(results))))
        tokenizer, longest = loading.load_tokenizer(model), min(MOST_TOKENS, alone.context // 2)
        asked = {task: _tokens(tokenizer, results / "tasks" / task, texts, longest) for task in tasks}
        fits = (2 + len(variants)) * alone.bytes <= KEPT_BYTES
        for some in [variants] if fits else [[one] for one in variants]:
            readers = {one: _reader(Path(one.folder(str(results)))) for one in some}
            for task, of_task in asked.items():
                for one, found in compared(control, alone, readers, of_task).items():
                    if one is not None or (some[0] is variants[0] and not cell.is_dense):
                        who = (one or Variant(cell)).row
                        rows += [who | {"task": task, "scoring": "similarity"} | row for row in _rows(found)]
    with atomic_file(output) as temporary:
        pandas.DataFrame(rows, columns=list(COLUMNS)).to_parquet(temporary, index=False)


def compared(
    dense: Reader, alone: Reader, readers: Mapping[Any, Reader], texts: Sequence[Sequence[int]]
) -> dict[Any, dict[str, Statistics]]:
    """What is known of each of `readers` by its key, and under None of the cell `alone`: "to_dense", "to_cell", …"""
    every = {None: alone} | dict(readers)
    if dense is not alone:
        every["dense"] = dense
    references = {"to_dense": "dense" if dense is not alone else None, "to_cell": None}
    examples = {key: Examples() for key in every}
    pairs = {
        (key, name): Pair()
        for key in every
        for name, reference in references.items()
        if key not in ("dense", reference) and (name == "to_dense" or dense is not alone)
    }
    for tokens in texts:
        readings = {key: reader.read(tokens) for key, reader in every.items()}
        for key, reading in readings.items():
            examples[key].add(reading)
        for (key, name), pair in pairs.items():
            pair.add(readings[key], readings[references[name]])
    found: dict[Any, dict[str, Statistics]] = {}
    for (key, name), pair in pairs.items():
        found.setdefault(key, {})[name] = pair.statistics(examples[key], examples[references[name]])
    if before := found.get(None):
        for key in readers:
            found[key]["towards_dense"] = _towards(found[key]["to_dense"], before["to_dense"])
    return found


def _towards(now: Statistics, before: Statistics) -> Statistics:
    signs = {measure: -1 if measure == "attention_js" else 1 for measure in now}
    return {measure: signs[measure] * (now[measure] - before[measure]) for measure in now}


def _rows(found: Mapping[str, Statistics]) -> Iterator[dict[str, Any]]:
    """Rows of one variant: each measure by block and by head, and its means."""
    for name, statistics in found.items():
        for measure, values in statistics.items():
            metric = {"metric": f"{measure}_{name}"}
            bounds = (-np.inf, np.inf) if name == "towards_dense" else BOUNDS[measure]
            parts = {("all", "all"): values.mean((0, 1))}
            for layer, heads in enumerate(values, start=1):
                parts[str(layer), "all"] = heads.mean(0)
                if measure.startswith("attention"):
                    parts |= {(str(layer), f"head {number}"): head for number, head in enumerate(heads)}
            for (layer, subset), statistic in parts.items():
                row = estimate(statistic)
                row |= {key: float(np.clip(row[key], *bounds)) for key in ("value", "low", "high")}
                yield {"subset": subset, "layer": layer} | metric | row


def _reader(folder: Path) -> Reader:
    model, _ = loading.load(folder)
    return Reader(model)


def _tokens(tokenizer, folder: Path, texts: int, longest: int) -> list[list[int]]:
    """Texts of a task, evenly spread over its rows, cut to the `longest` tokens; at least two of them look back."""
    rows = tokenizer(prompts(folder), return_attention_mask=False)["input_ids"]
    rows = [row[:longest] for row in rows if len(row) > 2]
    if len(rows) < FEWEST_TEXTS:
        raise PalimpsestError(
            f"similarity: {folder.name} has {len(rows)} texts of at least three tokens, and {FEWEST_TEXTS} are needed. "
            "Name another task in `similarity: {tasks: […]}`."
        )
    return rows if len(rows) <= texts else [rows[number * len(rows) // texts] for number in range(texts)]
