"""Train a recovery on a frozen cell, and write it."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn

from palimpsest.finetuning.checkpoint import Checkpoint
from palimpsest.finetuning.loop import Objective, Training, train
from palimpsest.leaks.facts import refuse_facts
from palimpsest.provenance import PalimpsestError, atomic_folder, digest_file, folder_digest, write_json
from palimpsest.recovery import registry
from palimpsest.recovery.adapters import RECOVERY, WEIGHTS, adapter_state, write_adapter
from palimpsest.recovery.configure import adapted, complete, context_length
from palimpsest.recovery.documents import Document, endless_batches, read_documents, read_texts, sorted_batches
from palimpsest.recovery.objectives import Distillation, next_token
from palimpsest.versions import code
from palimpsest.world.facts import Facts

Texts = Path | str | Sequence[Path | str]


def recover(
    cell_folder: Path | str,
    output_folder: Path | str,
    *,
    method: str,
    options: Mapping[str, Any],
    text: Texts,
    validation: Texts | None = None,
    facts_file: Path | str | None = None,
    unseen: str = "U",
    state_folder: Path | str | None = None,
    seed: int = 0,
    steps: int = 300,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    mask: str | None = None,
    validate_every: int = 50,
    validation_documents: int = 128,
    patience: int = 4,
    checkpoint_minutes: float = 2.0,
) -> dict[str, Any]:
    """Train `method` on the cell of `cell_folder` and write the adapter of the best step to `output_folder`.

    text, validation: files of one document a line, or folders of calibration rows. Training ends after `steps`, or
        after `patience` validations (one every `validate_every` steps) without a better one; without `validation` the
        last step is kept. With 0 steps the adapter is written as it starts.
    facts_file: `facts.parquet` of the world. A text that says facts of the people of pool `unseen` is refused; mask
        "values" leaves out of the loss (on `validation` too) the values of the people that a document names.
    state_folder: where a training that is killed leaves its state, every `checkpoint_minutes`; the same call then goes
        on from there and ends with the same bytes.
    Returns what it writes to `recovery.json`. Raises PalimpsestError on what a person must put right.
    """
    settings = {
        "seed": seed,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "mask": mask,
        "validate_every": validate_every,
        "validation_documents": validation_documents,
        "patience": patience,
    }
    _check(method, settings | {"checkpoint_minutes": checkpoint_minutes}, facts_file)
    from palimpsest.loading import load

    cell, output = Path(cell_folder), Path(output_folder)
    model, tokenizer = load(cell)
    if method == "qlora":
        from palimpsest.recovery.packed import keep_packed

        keep_packed(model, cell)
    every_option = complete(method, options, model)
    adapter = adapted(method, options, model, seed)
    objective = _objective(method, every_option, cell)
    facts = None if facts_file is None else Facts.read(facts_file)
    _refuse_unseen(text, validation, tokenizer, facts, unseen)
    room = context_length(model) - (every_option.get("tokens") or 0)
    values = facts if mask == "values" else None
    rows = read_documents(text, tokenizer, room, values)
    held_out = read_documents(validation, tokenizer, room, values) if validation else []
    made = {
        "method": method,
        "version": registry.declared()[method].version,
        "options": every_option,
        "text": _digests(text),
        "validation": _digests(validation or ()),
        "training": settings,
    }
    whose = made | {"cell": folder_digest(cell), "code": code("recover")}
    whose |= {"facts": digest_file(facts_file)} if mask else {}
    checkpoint = Checkpoint(state_folder, whose, checkpoint_minutes)
    padding = tokenizer.pad_token_id or 0
    training = train(
        adapter,
        objective,
        endless_batches(rows, batch_size, padding, seed),
        sorted_batches(_spread(held_out, validation_documents), batch_size, padding),
        steps=steps,
        learning_rate=learning_rate,
        validate_every=validate_every,
        patience=patience,
        state=adapter_state,
        checkpoint=checkpoint,
        name=f"{method} on {cell.parent.parent.name}/{cell.parent.name}",
    )
    recovery = _write(output, cell, adapter, training, made)
    checkpoint.remove()
    return recovery


def _check(method: str, settings: Mapping[str, Any], facts_file: Path | str | None) -> None:
    least = {"steps": 0, "batch_size": 1, "validate_every": 1, "validation_documents": 1, "patience": 1}
    for name, smallest in (*least.items(), ("checkpoint_minutes", 0)):
        if not settings[name] >= smallest:
            raise PalimpsestError(f"recovery {method}: training: {name} {settings[name]} is not at least {smallest}.")
    if not settings["learning_rate"] > 0:
        raise PalimpsestError(f"recovery {method}: training: learning_rate {settings['learning_rate']} is not above 0.")
    if (mask := settings["mask"]) not in (None, "values"):
        raise PalimpsestError(f'recovery {method}: training: mask "{mask}": write values, or leave it out.')
    if mask and facts_file is None:
        raise PalimpsestError(f"recovery {method}: training: mask: {mask} needs the facts of a world; there are none.")


def _refuse_unseen(text: Texts, validation: Texts | None, tokenizer, facts: Facts | None, pool: str) -> None:
    if facts is None:
        return
    for texts in (text, validation or ()):
        for name, documents in read_texts(texts, tokenizer).items():
            refuse_facts(name, documents, facts, pool)


def _objective(method: str, options: Mapping[str, Any], cell: Path) -> Objective:
    return Distillation(_dense_model(cell), options["temperature"]) if method == "distill" else next_token


def _dense_model(cell: Path) -> nn.Module:
    """The checkpoint that a cell was made from; a checkpoint itself is its own."""
    from palimpsest.compression import artifact
    from palimpsest.loading import load

    record = artifact.read_record(cell) if (cell / artifact.RECORD).is_file() else None
    return load(artifact.base_folder(cell, record) if record else cell)[0]


def _write(output: Path, cell: Path, adapter: PeftModel, training: Training, made: Mapping[str, Any]) -> dict[str, Any]:
    with atomic_folder(output) as folder:
        write_adapter(folder, training.best_state, adapter.active_peft_config)
        write_curve(folder, training)
        recovery = {
            **made,
            "cell": {"path": Path(os.path.relpath(cell, output)).as_posix(), "digest": folder_digest(cell)},
            "of": [],
            "consults_dense": registry.declared()[made["method"]].consults_dense,
            "best_step": training.best_step,
            "validation_loss": None if math.isnan(training.best_loss) else round(training.best_loss, 6),
            "stopped": training.stopped,
            "parameters_extra": sum(tensor.numel() for tensor in training.best_state.values()),
            "bytes": (folder / WEIGHTS).stat().st_size,
        }
        write_json(folder / RECOVERY, recovery)
    return recovery


def write_curve(folder: Path, training: Training) -> None:
    """`curve.csv`: the losses of a training."""
    with open(folder / "curve.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("step", "training_loss", "validation_loss"))
        writer.writerows((step, *(f"{loss:.6g}" for loss in losses)) for step, *losses in training.curve)


def _spread(rows: list[Document], count: int) -> list[Document]:
    """At most `count` rows, evenly spread over the file, so that every part of it has a say."""
    return rows if len(rows) <= count else [rows[index * len(rows) // count] for index in range(count)]


def _digests(paths: Texts) -> list[dict]:
    paths = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    return [
        {"name": path.name, "sha256": folder_digest(path) if path.is_dir() else digest_file(path)} for path in paths
    ]
