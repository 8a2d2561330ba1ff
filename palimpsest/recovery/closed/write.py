"""The folder of a recovery that changes a cell's weights: a LoRA adapter beside them, a new cell in their place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig, TaskType
from torch import Tensor

from palimpsest.compression import artifact
from palimpsest.compression.cell import achieved, sizes
from palimpsest.compression.progress import Progress
from palimpsest.provenance import atomic_folder, folder_digest, write_json
from palimpsest.recovery.adapters import CELL, RECOVERY, WEIGHTS, write_adapter
from palimpsest.recovery.closed.cell import Cell
from palimpsest.recovery.closed.walk import BESIDE, INSTEAD


def write(output: Path, cell: Cell, done: Progress, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write what a finished walk has made, and `recovery.json`: `record`, its cell, sizes and errors by layer."""
    entries = {key: said for number in range(done.finished()) for key, said in done.entries(number).items()}
    beside, instead = (
        {key.removeprefix(place): said for key, said in entries.items() if key.startswith(place)}
        for place in (BESIDE, INSTEAD)
    )
    with atomic_folder(output) as folder:
        extra = _write_corrections(folder, cell, done, beside) if beside else 0
        if instead:
            _write_cell(folder / CELL, output / CELL, cell, done, instead, record)
        errors = {
            layer: {key: said[key] for key in ("error_before", "error", "error_on", "merging_error") if key in said}
            for layer, said in (instead | beside).items()
        }
        recovery = (
            {"cell": entry_of(cell.folder, output)}
            | dict(record)
            | {
                "parameters_extra": extra,
                "bytes": (folder / WEIGHTS).stat().st_size if beside else 0,
                "layers": errors,
            }
        )
        write_json(folder / RECOVERY, recovery)
    return recovery


def entry_of(folder: Path, output: Path) -> dict[str, str]:
    """How a recovery in `output` refers to its cell, or to a recovery that it is made of."""
    return {"path": Path(os.path.relpath(folder, output)).as_posix(), "digest": folder_digest(folder)}


def _write_corrections(folder: Path, cell: Cell, done: Progress, entries: Mapping[str, Mapping[str, Any]]) -> int:
    """The corrections as a LoRA adapter whose scale is 1; returns how many parameters it has."""
    state: dict[str, Tensor] = {}
    for number in range(done.finished()):
        for key, part in done.layers(number).items():
            if key.startswith(BESIDE):
                name = f"base_model.model.{key.removeprefix(BESIDE)}"
                state |= {f"{name}.lora_A.weight": part.right, f"{name}.lora_B.weight": part.left}
    rank = next(iter(state.values())).shape[0]
    family = cell.checkpoint.family
    configuration = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(entries),
        fan_in_fan_out=family.transposed,
        task_type=TaskType.CAUSAL_LM if family.causal else None,
    )
    write_adapter(folder, dict(sorted(state.items())), configuration)
    return sum(tensor.numel() for tensor in state.values())


def _write_cell(
    folder: Path,
    final: Path,
    cell: Cell,
    done: Progress,
    entries: Mapping[str, Mapping[str, Any]],
    record: Mapping[str, Any],
) -> None:
    """The cell with its replaced layers, as compression writes one; the others are copied as they are."""
    checkpoint, said = cell.checkpoint, {}
    with artifact.writing(folder) as writer:
        for number in range(done.finished()):
            names = [checkpoint.layer_name(number, layer) for layer in checkpoint.family.layers]
            kept = [name for name in names if name not in entries]
            said |= {name: cell.record["layers"][name] for name in kept if name in cell.record["layers"]}
            said |= {name: entries[name] for name in names if name in entries}
            for name, compressed in cell.layers(kept).items():
                for part, tensor in sorted(compressed.tensors().items()):
                    writer.tensors.add(f"{name}.{part}", tensor)
            for key, tensor in done.tensors(number):
                if key.startswith(INSTEAD):
                    writer.tensors.add(key.removeprefix(INSTEAD), tensor)
        writer.record = cell.record | {
            "base": artifact.base_entry(checkpoint.folder, final, checkpoint.digest),
            "layers": said,
            "achieved": achieved(said),
            "sizes": sizes(checkpoint, said),
            "recovery": {key: record[key] for key in ("method", "options")},
        }
