"""All variants of a study into `measurements.parquet` and `latency.parquet`."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from palimpsest import loading
from palimpsest.compression import artifact
from palimpsest.compression.families import is_encoder
from palimpsest.compression.weights import LowRank
from palimpsest.evaluation.forward import Forward
from palimpsest.grid import NONE, Variant
from palimpsest.measurement.encoder import Encoder
from palimpsest.measurement.rounds import FACTORS, MERGED, PHASES, PLAIN, Rounds, ratios, spread
from palimpsest.measurement.sizes import sizes
from palimpsest.measurement.speed import clock_of, interleaved, latency, peak_memory
from palimpsest.provenance import atomic_file
from palimpsest.settings import SWAPPED

if TYPE_CHECKING:
    from palimpsest.grid import Grid

COLUMNS = ("model", "label", "method", "level", "seed", "recovery", "metric", "value", "low", "high", "n", "unit")
COLUMNS += ("context",)  # tokens of the prompt that a time was measured at; 0 for what has none
KEPT_BYTES = 4 * 2**30  # models up to so much stay loaded between the rounds; larger ones are loaded again


@dataclass(frozen=True)
class Run:
    """A variant, the folder that it is loaded from, and how it is run."""

    variant: Variant
    folder: Path
    way: str = PLAIN

    def load(self) -> Forward | Encoder:
        model, _ = loading.load(self.folder, keep_factors=self.way == FACTORS)
        if is_encoder(model.config.model_type):
            return Encoder(model)
        return Forward(model.merge_and_unload() if self.way == MERGED else model)


def measure(
    results: Path,
    grid: Grid,
    output: Path,
    rounds_output: Path,
    *,
    context: int | Sequence[int],
    new_tokens: int,
    repeats: int,
) -> None:
    """Measure every variant: sizes from its files, memory in a process of its own, latency in rounds over all variants.

    A time is the median of `repeats` rounds, at each length of `context`; `low` and `high` are the fastest and the
    slowest. On a CPU with one thread the clock is that thread's: what else the machine does is not in it. Ratios to the
    dense model (`_over_dense`) and to the plain cell (`_over_cell`) are medians of the rounds' ratios. Adapters of
    weights are timed beside them and merged in memory (`prefill_merged_ms`), low-rank cells as the matrices they stand
    for and as two factors (`prefill_factors_ms`). `rounds_output` has every round.
    """
    contexts = [context] if isinstance(context, int) else list(context)
    rows: list[dict[str, Any]] = []
    parameters: dict[Run, float] = {}
    for variant in grid.variants():
        cell = Path(variant.cell.folder(str(results)))
        adapter = None if variant.recovery == NONE else Path(variant.folder(str(results))) / "adapter"
        for metric, value, unit in sizes(cell, adapter):
            rows.append(_row(variant.row, metric, [value], unit))
            # A cross-fitted recovery's twin is as large and as fast as itself.
            if metric == "parameters" and not variant.recovery.endswith(SWAPPED):
                parameters |= dict.fromkeys(_runs(variant, cell, adapter), value)
    rows += _memory(parameters, max(contexts), new_tokens)
    rounds = _rounds(parameters, contexts, new_tokens, repeats)
    rows += _times(rounds, parameters)
    _write(pandas.DataFrame(rows, columns=list(COLUMNS)), output)
    _write(rounds.table(), rounds_output)


def _runs(variant: Variant, cell: Path, adapter: Path | None) -> Iterator[Run]:
    """The ways in which a variant is run."""
    yield Run(variant, adapter or cell)
    if adapter is not None and _changes_weights(adapter):
        yield Run(variant, adapter, MERGED)
    if adapter is None and any(
        layer["kind"] == LowRank.kind for layer in artifact.read_record(cell)["layers"].values()
    ):
        yield Run(variant, cell, FACTORS)


def _changes_weights(adapter: Path) -> bool:
    """Whether it is an adapter of peft's that stands beside weights, not before the text."""
    from peft import PeftConfig

    if not (adapter / "adapter_config.json").is_file():
        return False
    return not PeftConfig.from_pretrained(str(adapter)).is_prompt_learning


def _memory(parameters: Mapping[Run, float], context: int, new_tokens: int) -> Iterator[dict[str, Any]]:
    """Peak memory of loading and a first pass, for every variant as evaluation runs it."""
    plain = [run for run in parameters if run.way == PLAIN]

    def first_pass(run: Run) -> object:
        forward = run.load()
        _latency(forward, min(context, _room(forward, new_tokens)), 1)
        return forward

    # Libraries are imported here, and used once in each process: they count in no variant's memory.
    for run in {run.variant.recovery == NONE: run for run in plain}.values():
        first_pass(run)
    warm_up = functools.partial(first_pass, min(plain, key=parameters.get))
    for run in plain:
        if (peak := peak_memory(functools.partial(first_pass, run), warm_up)) is not None:
            yield _row(run.variant.row, "peak_memory_bytes", [peak], "bytes")


def _rounds(parameters: Mapping[Run, float], contexts: Sequence[int], new_tokens: int, repeats: int) -> Rounds:
    """Times of all runs in turn. All variants of a model read the same tokens: as many as fit in the shortest room."""
    small = 4 * sum(parameters.values()) <= KEPT_BYTES
    load = functools.cache(Run.load) if small else Run.load
    room: dict[str, int] = {}
    for run in parameters:
        model = run.variant.cell.model
        room[model] = min(room.get(model, max(contexts)), _room(load(run), new_tokens))
    works = [
        (run, length)
        for run in parameters
        for length in dict.fromkeys(min(context, room[run.variant.cell.model]) for context in contexts)
    ]

    def timed(run: Run, length: int) -> tuple[float, float]:
        forward = load(run)
        if not small:
            _latency(forward, length, 1)  # the first pass after loading finds nothing in any cache
        return _latency(forward, length, new_tokens)

    measured = interleaved([functools.partial(timed, *work) for work in works], repeats)
    rounds = Rounds()
    for (run, length), times in zip(works, measured, strict=True):
        rounds.add(run.variant.row, run.way, length, times)
    return rounds


def _times(rounds: Rounds, runs: Mapping[Run, float]) -> Iterator[dict[str, Any]]:
    for run in runs:
        row = run.variant.row
        cell = row | {"recovery": NONE}
        dense = cell | {"label": "dense", "method": "dense", "level": "full", "seed": 0}
        suffix = "" if run.way == PLAIN else f"_{run.way}"
        for context in rounds.contexts(row["model"]):
            for phase in PHASES:
                own = rounds.of(row, run.way, context, phase)
                if any(map(math.isnan, own)):  # an encoder generates no token
                    continue
                yield _row(row, f"{phase}{suffix}_ms", own, "ms", context)
                for name, other in (("dense", dense), ("cell", cell)):
                    if (row, run.way) != (other, PLAIN):
                        ratio = ratios(own, rounds.of(other, PLAIN, context, phase))
                        yield _row(row, f"{phase}{suffix}_over_{name}", ratio, "ratio", context)


def _room(forward: Forward | Encoder, new_tokens: int) -> int:
    """How many tokens a prompt may have."""
    most = getattr(forward.model.config, "max_position_embeddings", None) or 2**31
    return most - new_tokens - forward.virtual_tokens


def _latency(forward: Forward | Encoder, length: int, new_tokens: int) -> tuple[float, float]:
    """Which tokens they are does not matter to the time."""
    if isinstance(forward, Encoder):
        return forward.latency(length)
    vocabulary = forward.head.weight.shape[0]
    tokens = [number % vocabulary for number in range(length)]
    return latency(forward, tokens, new_tokens, clock_of(forward.device))


def _row(
    identity: Mapping[str, Any], metric: str, values: Sequence[float], unit: str, context: int = 0
) -> dict[str, Any]:
    return dict(identity) | {"metric": metric} | spread(map(float, values)) | {"unit": unit, "context": context}


def _write(table: pandas.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.to_parquet(temporary, index=False)
