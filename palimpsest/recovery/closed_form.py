"""Recovery in closed form: corrections beside the layers of a cell, or better factors in their place, without training.

All of it consults the dense weights, so that what it brings back says nothing on what the compressed weights still had.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from palimpsest.compression import declarations
from palimpsest.compression.progress import progress
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import registry
from palimpsest.recovery.closed.cell import Cell
from palimpsest.recovery.closed.methods import METHODS, Method
from palimpsest.recovery.closed.walk import Walk
from palimpsest.recovery.closed.write import write

OF_THE_WALK = {"inputs", "damping"}  # options that say which inputs are seen, and not what is made of them


def recover(
    cell_folder: Path | str,
    output_folder: Path | str,
    *,
    method: str,
    options: Mapping[str, Any],
    calibration_folder: Path | str | None = None,
    state_folder: Path | str | None = None,
) -> dict[str, Any]:
    """Repair the cell in `cell_folder` by `method` and write the adapter's folder to `output_folder`.

    calibration_folder: rows of text whose activations the layers see; not looked at by a method without statistics.
    state_folder: where a walk that is killed leaves its finished blocks; the same call then goes on from there.
    Returns what it writes to `recovery.json`. Raises PalimpsestError on anything that a person must put right.
    """
    found, declared = METHODS[method], registry.declared()[method]
    complete = declarations.complete(f"recovery {method}", declared.options, declared.ranges, options)
    cell = Cell(cell_folder)
    _check(cell, method, found, complete)
    needs = set(found.needs)
    rows = lengths = calibration = None
    if needs:
        if calibration_folder is None:
            raise PalimpsestError(
                f"recovery {method} needs the inputs of each layer ({', '.join(found.needs)}): give it a calibration, "
                f'e.g. "{method}: {{calibration: generic, cells: [...]}}".'
            )
        from palimpsest.calibration import read_rows

        rows, lengths, calibration = read_rows(calibration_folder)
        # A bias that the cell's method added stays: the matrices make up for the rest.
        needs |= {"gram", "input_means"} if _has_bias(cell) else set()
    record = {"method": method, "options": complete, "version": declared.version, "calibration": calibration}
    own = complete.get("inputs") == "compressed"
    repair = partial(found.repair, **{name: complete[name] for name in complete if name not in OF_THE_WALK})
    output = Path(output_folder)
    with progress(output, record | {"cell": cell.digest}, None if state_folder is None else Path(state_folder)) as done:
        solve = lambda _, target, compressed, stats: repair(target, compressed, stats)  # noqa: E731
        walk = Walk(cell, solve, needs, done, complete.get("damping"))
        if rows is None:
            walk.weights_only()
        else:
            (walk.on_own_inputs if own else walk.on_dense_inputs)(rows, lengths)
        return write(output, cell, done, record | {"consults_dense": True, "of": []})


def _check(cell: Cell, method: str, found: Method, options: Mapping[str, Any]) -> None:
    """There is something to repair, the method is for it, and the rank is one that every layer can have."""
    if not cell.compressed:
        raise PalimpsestError(
            f"recovery {method}: {cell.folder} is dense: there is nothing to repair. Name a compressed cell."
        )
    layers = cell.record["layers"]
    kinds = None if found.mends is None else {kind.kind for kind in found.mends}
    for name in cell.compressed:
        if kinds is not None and layers[name]["kind"] not in kinds:
            examples = {"quantized": "rtn, gptq, awq or nf4", "low rank": "svd or svd-llm"}[found.wanted]
            raise PalimpsestError(
                f"recovery {method} is for {found.wanted} cells ({examples}); in {cell.folder} {name} is "
                f"{layers[name]['kind']}."
            )
    largest = min(min(layers[name]["shape"]) for name in cell.compressed)
    for name in cell.compressed:
        rows, columns = layers[name]["shape"]
        if options.get("rank", 0) > min(rows, columns):
            raise PalimpsestError(
                f"recovery {method}: rank {options['rank']} is larger than {name} ({rows} by {columns}) can have. "
                f"Write rank: {largest} or less; every layer can have that."
            )


def _has_bias(cell: Cell) -> bool:
    """Whether the method of the cell added biases (AFM): they are stored beside the matrices."""
    first = cell.compressed[:1]
    return any(weight.bias is not None for weight in cell.layers(first).values())
