"""From a dense checkpoint to the artifacts of cells: what is checked first, the walk, and what is said of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any

from palimpsest import levels
from palimpsest.compression import artifact, registry
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.progress import Progress, progress
from palimpsest.compression.walk import Recipe, Walk
from palimpsest.provenance import PalimpsestError
from palimpsest.versions import code

DENSE = "dense"  # the control: no method, no layers
DENSE_LEVEL = {"sparsity": 0.0, "kept_share": 1.0}  # what a layer that is left dense achieves


def compress(
    model_folder: Path | str,
    output_folder: Path | str | Sequence[Path | str],
    *,
    method: str,
    level: str | Sequence[str],
    label: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    calibration_folder: Path | str | None = None,
    allocation_folder: Path | str | Sequence[Path | str] | None = None,
    propagate: bool | None = None,
    state_folder: Path | str | None = None,
) -> None:
    """Compress the dense checkpoint in `model_folder` and write the cell's artifact to `output_folder`.

    level: one level, or several with as many output folders (and allocations): a sweep, whose levels share the
        statistics of their inputs and the factorizations. Needs `propagate` false, or a method without statistics.
    method "dense" with level "full" writes the control: the same format with no layers.
    allocation_folder: the levels of single layers (allocation/); None gives every layer the same.
    propagate: None takes the method's own choice.
    state_folder: where a walk that is killed leaves its finished blocks; the same call then goes on from there.
    Raises PalimpsestError on anything that a person must put right; then nothing is written.
    """
    outputs, asked, allocations = _each(output_folder), _each(level), _each(allocation_folder)
    if len(outputs) != len(asked) or len(allocations) not in (1, len(asked)):
        raise PalimpsestError(
            f"{len(asked)} levels, {len(outputs)} output folders, {len(allocations)} allocations: give as many of each."
        )
    allocations = allocations * len(asked) if len(allocations) == 1 else allocations
    parsed = [levels.parse(text) for text in asked]
    complete = {one.text: _check(method, one, options or {}, calibration_folder) for one in parsed}[parsed[0].text]
    if method != DENSE and None in allocations and (part := registry.declaration(method).allocation):
        raise PalimpsestError(
            f"{method} is a choice of matrices as well: give it an allocation, e.g. "
            f'"{method}: {{allocation: {part}, levels: [{parsed[0].text}]}}".'
        )
    checkpoint = Checkpoint(model_folder)
    rows = lengths = calibration = None
    if method != DENSE and calibration_folder is not None:
        from palimpsest.calibration import read_rows

        rows, lengths, calibration = read_rows(calibration_folder)
        propagate = registry.declaration(method).propagate if propagate is None else propagate
    else:
        propagate = None
    if len(parsed) > 1 and (propagate or complete.get("true_sequential")):
        raise PalimpsestError(
            f"{method}: several levels in one walk need inputs from dense blocks: give propagate: false, and no "
            "true_sequential."
        )
    recipes, records = [], []
    for one, output, allocation in zip(parsed, outputs, allocations, strict=True):
        chosen = None if allocation is None else _allocated(allocation, checkpoint, one)
        recipes.append(Recipe(method, one, seed, complete, chosen and chosen["levels"]))
        records.append(
            {
                "method": method,
                "method_version": "1" if method == DENSE else registry.declaration(method).version,
                "label": label or method,
                "level": one.text,
                "seed": seed,
                "options": complete,
                "calibration": calibration,
                "propagate": propagate,
                "allocation": chosen and chosen["record"],
                "base": artifact.base_entry(checkpoint.folder, Path(output), checkpoint.digest),
                "model_type": checkpoint.config.get("model_type"),
            }
        )
    with ExitStack() as stack:
        state = None if state_folder is None else Path(state_folder)
        progresses = [
            stack.enter_context(progress(Path(output), _whose(record), state))
            for output, record in zip(outputs, records, strict=True)
        ]
        if method != DENSE:
            walk = Walk(checkpoint, recipes, progresses)
            if rows is None:
                walk.weights_only()
            else:
                walk.with_inputs(rows, lengths, propagate)
        for output, record, done in zip(outputs, records, progresses, strict=True):
            _write(Path(output), record, done, checkpoint)


def _each(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def _whose(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two walks the same: everything but where the cell lies and what the study calls it."""
    unlike = {"label": None, "base": record["base"]["digest"], "code": code("compress")}
    return dict(record) | unlike


def _allocated(folder: Path | str, checkpoint: Checkpoint, level: levels.Level) -> dict[str, Any]:
    from palimpsest.compression.allocation import read_allocation

    found = read_allocation(folder, checkpoint.digest)
    if found["record"]["level"] != level.text:
        raise PalimpsestError(f"{folder}: an allocation of level {found['record']['level']}, not of {level.text}.")
    return found


def _write(output: Path, record: dict[str, Any], done: Progress, checkpoint: Checkpoint) -> None:
    """The artifact, from the finished blocks."""
    entries: dict[str, dict[str, Any]] = {}
    with artifact.writing(output) as writer:
        for number in range(done.finished()):
            entries |= done.entries(number)
            for name, tensor in done.tensors(number):
                writer.tensors.add(name, tensor)
        summary = {"layers": entries, "achieved": achieved(entries), "sizes": sizes(checkpoint, entries)}
        writer.record = record | summary


def _check(
    method: str, level: levels.Level, options: Mapping[str, Any], calibration: Path | str | None
) -> dict[str, Any]:
    """All options of the method, after checking what can be checked before the checkpoint is opened."""
    if method == DENSE:
        if level.syntax != "full" or options:
            raise PalimpsestError(
                f"The dense control has the level 'full' and no options, not {level.text!r} and {dict(options)}."
            )
        return {}
    declaration = registry.declaration(method)
    if declaration.needs and calibration is None:
        raise PalimpsestError(
            f"{method} needs the inputs of each layer ({', '.join(declaration.needs)}): give it a calibration, "
            f'e.g. "{method}: {{calibration: generic}}".'
        )
    return registry.complete_options(method, options)


def achieved(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The level of the whole cell: means over its layers, weighted by their numbers of weights.

    A layer that is left dense counts as what it is: no sparsity, all parameters kept, the bits of its data type.
    """
    total = sum(prod(entry["shape"]) for entry in entries.values())
    names = {name for entry in entries.values() if entry["kind"] != DENSE for name in entry["achieved"]} or {
        "kept_share"
    }
    names -= {"rank"}

    def of(entry: Mapping[str, Any], name: str) -> float:
        if name in entry["achieved"]:
            return entry["achieved"][name]
        return DENSE_LEVEL[name] if name in DENSE_LEVEL else float(entry["dtype"].lstrip("bfloat"))

    return {
        name: sum(of(entry, name) * prod(entry["shape"]) for entry in entries.values()) / total
        for name in sorted(names)
        if total
    }


def sizes(checkpoint: Checkpoint, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes that are stored, bytes of the dense tensors still referred to, parameters in all and those compressed."""
    stored = {layer: entry for layer, entry in entries.items() if entry["kind"] != DENSE}
    counts = {name: checkpoint.size(name) for name in checkpoint.names}
    replaced = {checkpoint.tensor_name(layer) for layer in stored}
    payload = sum(entry["nbytes"] for entry in stored.values())
    weights = sum(prod(entry["shape"]) for entry in stored.values())
    return {
        "payload_bytes": payload,
        "dense_bytes_referred": sum(nbytes for name, (_, nbytes) in counts.items() if name not in replaced),
        "parameters": sum(count for count, _ in counts.values()),
        "compressed_parameters": weights,
        "bits_per_weight": 8 * payload / weights if weights else None,
    }
