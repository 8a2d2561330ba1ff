"""All variants of a study into `measurements.parquet`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import torch

from palimpsest import loading
from palimpsest.evaluation.forward import Forward
from palimpsest.measurement.sizes import sizes
from palimpsest.measurement.speed import interleaved, latency, peak_memory
from palimpsest.provenance import atomic_file

if TYPE_CHECKING:
    from palimpsest.grid import Grid

COLUMNS = ("model", "label", "method", "level", "seed", "recovery", "metric", "value", "low", "high", "n", "unit")
KEPT_BYTES = 4 * 2**30  # models up to so much stay loaded between the rounds; larger ones are loaded again


def measure(results: Path, grid: Grid, output: Path, *, context: int, new_tokens: int, repeats: int) -> None:
    """Measure every variant: sizes from its files, memory in a process of its own, latency in rounds over all variants.

    A time is the median of `repeats` runs; `low` and `high` are the fastest and the slowest.
    """
    rows: list[dict[str, Any]] = []
    parameters: dict[Path, float] = {}
    for variant in grid.variants():
        cell = Path(variant.cell.folder(str(results)))
        adapter = None if variant.recovery == "none" else Path(variant.folder(str(results))) / "adapter"
        for metric, value, unit in sizes(cell, adapter):
            rows.append(_row(variant.row, metric, [value], unit))
            if metric == "parameters":
                parameters[adapter or cell] = value
    folders = list(parameters)

    def first_pass(folder: Path) -> object:
        model, _ = loading.load(folder)
        latency(model, _tokens(model, context, 1), 1)
        return model

    # Libraries are imported here, and used once in each process: they count in no variant's memory.
    for folder in {path.name == "adapter": path for path in folders}.values():
        first_pass(folder)
    warm_up = functools.partial(first_pass, min(folders, key=parameters.get))
    for variant, folder in zip(grid.variants(), folders, strict=True):
        if (peak := peak_memory(functools.partial(first_pass, folder), warm_up)) is not None:
            rows.append(_row(variant.row, "peak_memory_bytes", [peak], "bytes"))

    load = functools.cache(loading.load) if 4 * sum(parameters.values()) <= KEPT_BYTES else loading.load

    def timed(folder: Path) -> tuple[float, float]:
        model, _ = load(folder)
        return latency(model, _tokens(model, context, new_tokens), new_tokens)

    times = interleaved([functools.partial(timed, folder) for folder in folders], repeats)
    for variant, runs in zip(grid.variants(), times, strict=True):
        rows.append(_row(variant.row, "prefill_ms", [prefill for prefill, _ in runs], "ms"))
        rows.append(_row(variant.row, "decode_ms", [decode for _, decode in runs], "ms"))
    with atomic_file(output) as temporary:
        pandas.DataFrame(rows, columns=list(COLUMNS)).to_parquet(temporary, index=False)


def _tokens(model, context: int, new_tokens: int) -> torch.Tensor:
    """(1, context) token numbers: which ones does not matter to the time. Fewer in a shorter context."""
    virtual = Forward(model).virtual_tokens
    room = getattr(model.config, "max_position_embeddings", context + new_tokens + virtual) - new_tokens - virtual
    return torch.arange(min(context, room))[None] % model.config.vocab_size


def _row(identity: Mapping[str, Any], metric: str, values: list[float], unit: str) -> dict[str, Any]:
    spread = {"value": float(np.median(values)), "low": float(min(values)), "high": float(max(values))}
    return dict(identity) | {"metric": metric} | spread | {"n": len(values), "unit": unit}
