"""Fine-tune what a cell of an encoder keeps, on the training rows of a task.

On a cell of a base encoder this is compressing before fine-tuning: it gets a new head. On a cell of a fine-tuned model
it is fine-tuning again. The compression stays what it is (`finetuning.held`); norms, biases and the head are trained
as well. The result is a cell of its own, in the adapter's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from palimpsest.compression import artifact, declarations
from palimpsest.compression.cell import achieved
from palimpsest.compression.weights import CompressedWeight
from palimpsest.finetuning.checkpoint import Checkpoint
from palimpsest.finetuning.examples import read_examples
from palimpsest.finetuning.head import with_head
from palimpsest.finetuning.held import Release, hold
from palimpsest.finetuning.train import BATCH_SIZE, LEARNING_RATE, STEPS, freeze, run
from palimpsest.loading import load_tokenizer, path_in
from palimpsest.provenance import atomic_folder, folder_digest, write_json
from palimpsest.recovery import registry
from palimpsest.recovery.adapters import CELL, RECOVERY
from palimpsest.recovery.closed.cell import Cell
from palimpsest.recovery.closed.write import entry_of
from palimpsest.recovery.train import write_curve
from palimpsest.versions import code


def recover(
    cell_folder: Path | str,
    output_folder: Path | str,
    *,
    options: Mapping[str, Any],
    rows: Path | str,
    state_folder: Path | str | None = None,
    seed: int = 0,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    checkpoint_minutes: float = 2.0,
) -> dict[str, Any]:
    """Fine-tune the cell in `cell_folder` on `rows`, a folder of a task's training rows, and write `output_folder`.

    options: `embeddings`, whether those of words are trained too; `scales`, whether those of integers are.
    state_folder: where a training that is killed leaves its state, every `checkpoint_minutes`; the same call then goes
        on from there and ends with the same bytes.
    Returns what it writes to `recovery.json`. Raises PalimpsestError on anything that a person must put right.
    """
    declared = registry.declared()[registry.FINE_TUNE]
    complete = declarations.complete("recovery fine-tune", declared.options, declared.ranges, options)
    cell, output, rows = Cell(cell_folder), Path(output_folder), Path(rows)
    examples, classes = read_examples(rows)
    model, tokenizer = with_head(cell.checkpoint.folder, classes, seed), load_tokenizer(cell.checkpoint.folder)
    freeze(model, complete["embeddings"])
    stored = cell.layers(cell.names)
    held = {name: hold(model, path_in(model, name), stored.get(name), complete["scales"]) for name in cell.names}
    training = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    made = {
        "method": registry.FINE_TUNE,
        "version": declared.version,
        "options": complete,
        "text": [{"name": f"task {rows.name}", "sha256": folder_digest(rows)}],
        "validation": [],
        "training": training,
    }
    checkpoint = Checkpoint(state_folder, made | {"cell": cell.digest, "code": code("fine_tune")}, checkpoint_minutes)
    label = f"fine-tune on {cell.record['label']}/{cell.record['level']}"
    trained = run(model, tokenizer, examples, training, checkpoint, label)
    model.load_state_dict(trained.best_state, strict=False)
    with atomic_folder(output) as folder:
        _write_cell(folder / CELL, output / CELL, cell, model, held, classes, made)
        write_curve(folder, trained)
        recovery = made | {
            "cell": entry_of(cell.folder, output),
            "of": [],
            "consults_dense": declared.consults_dense,
            "best_step": trained.best_step,
            "validation_loss": None,
            "stopped": trained.stopped,
            "parameters_extra": 0,
            "bytes": 0,
        }
        write_json(folder / RECOVERY, recovery)
    checkpoint.remove()
    return recovery


def _write_cell(
    folder: Path,
    final: Path,
    cell: Cell,
    model: nn.Module,
    held: Mapping[str, Release],
    classes: Sequence[str],
    made: Mapping[str, Any],
) -> None:
    """The cell with its trained matrices, as compression writes one, and the trained dense tensors beside them."""
    dtype = cell.checkpoint.tensor(cell.checkpoint.tensor_name(cell.names[0])).dtype
    others = {name: tensor.to(dtype) for name, tensor in _beside(model, cell.names).items()}
    entries: dict[str, dict[str, Any]] = {}
    with artifact.writing(folder) as writer:
        for name, release in held.items():
            weight = release().to(dtype)
            entries[name] = _entry(weight, cell.record["layers"].get(name, {}).get("level", "dense"))
            for part, tensor in sorted(weight.tensors().items()):
                writer.tensors.add(f"{name}.{part}", tensor)
        trained = {name: tensor.contiguous() for name, tensor in sorted(others.items()) if tensor.requires_grad}
        save_file(trained, writer.folder / artifact.REPLACED, metadata={"format": "pt"})
        writer.record = cell.record | {
            "base": artifact.base_entry(cell.checkpoint.folder, final, cell.checkpoint.digest),
            "layers": entries,
            "achieved": achieved(entries),
            "sizes": _sizes(entries, others),
            "replaced": {"classes": list(classes), "dtype": str(dtype).removeprefix("torch.")},
            "recovery": {key: made[key] for key in ("method", "options")},
        }


def _beside(model: nn.Module, layers: Sequence[str]) -> dict[str, Tensor]:
    """Everything but the matrices of the blocks, by the names of a model without compression."""
    paths = {path_in(model, layer) for layer in layers}
    found = {}
    for name, parameter in model.named_parameters():
        # A bias may lie deeper than it would: in the second of two factors.
        owner = next((path for path in paths if name.startswith(f"{path}.")), None)
        if owner is None:
            found[name] = parameter
        elif name.endswith(".bias"):
            found[f"{owner}.bias"] = parameter
    return found


def _entry(weight: CompressedWeight, level: str) -> dict[str, Any]:
    """What compression.json says of a trained matrix; how far it is from the dense one says nothing any more."""
    return weight.metadata() | {"level": level, "nbytes": weight.nbytes, "achieved": weight.achieved()}


def _sizes(entries: Mapping[str, Mapping[str, Any]], others: Mapping[str, Tensor]) -> dict[str, Any]:
    """Bytes of the matrices, and of the dense tensors of the classifier, its head among them; parameters."""
    payload = sum(entry["nbytes"] for entry in entries.values())
    weights = sum(prod(entry["shape"]) for entry in entries.values())
    return {
        "payload_bytes": payload,
        "dense_bytes_referred": sum(tensor.nbytes for tensor in others.values()),
        "parameters": weights + sum(tensor.numel() for tensor in others.values()),
        "compressed_parameters": weights,
        "bits_per_weight": 8 * payload / weights,
    }
