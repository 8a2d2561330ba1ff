"""Train an adapter on a frozen cell: next-token loss on recovery text, early stopping on the validation pool."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.functional import cross_entropy

from palimpsest.provenance import PalimpsestError, atomic_folder, digest_file, folder_digest, write_json
from palimpsest.recovery import registry
from palimpsest.recovery.adapters import RECOVERY, WEIGHTS, adapter_state, write_adapter
from palimpsest.recovery.configure import configure, context_length
from palimpsest.recovery.documents import Batch, endless_batches, read_documents, sorted_batches

Texts = Path | str | Sequence[Path | str]


@dataclass
class Training:
    """The best adapter, and the curve: rows of (step, mean training loss since the last row, validation loss)."""

    curve: list[tuple[int, float, float]] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = math.inf
    best_state: dict[str, torch.Tensor] = field(default_factory=dict)

    def note(self, step: int, training: float, validation: float, model: PeftModel) -> None:
        self.curve.append((step, training, validation))
        if validation < self.best_loss or math.isnan(validation):  # without validation text the last is the best
            self.best_step, self.best_loss, self.best_state = step, validation, adapter_state(model)


def recover(
    cell_folder: Path | str,
    output_folder: Path | str,
    *,
    method: str,
    options: Mapping,
    text: Texts,
    validation: Texts | None = None,
    seed: int = 0,
    steps: int = 300,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    validate_every: int = 50,
    validation_documents: int = 128,
    patience: int = 4,
) -> dict:
    """Train `method` on the cell of `cell_folder` and write the adapter of the best step to `output_folder`.

    `text` and `validation` are files of one document a line. Training ends after `steps`, or after `patience`
    validations (one every `validate_every` steps) without a better one; without `validation` the last step is kept.
    Returns what it writes to `recovery.json`.
    """
    from palimpsest.loading import load

    for name, value in (("steps", steps), ("batch_size", batch_size), ("validate_every", validate_every)):
        if value < 1:
            raise PalimpsestError(f"recovery {method}: training: {name} {value} is not at least 1.")
    if not learning_rate > 0:
        raise PalimpsestError(f"recovery {method}: training: learning_rate {learning_rate} is not above 0.")
    model, tokenizer = load(cell_folder)
    torch.manual_seed(seed)
    peft_model = get_peft_model(model, configure(method, options, model))
    room = context_length(model) - _virtual_tokens(peft_model)
    padding = tokenizer.pad_token_id or 0
    rows = read_documents(text, tokenizer, room)
    held_out = read_documents(validation, tokenizer, room) if validation else []
    training = train(
        peft_model,
        endless_batches(rows, batch_size, padding, seed),
        sorted_batches(_spread(held_out, validation_documents), batch_size, padding),
        steps=steps,
        learning_rate=learning_rate,
        validate_every=validate_every,
        patience=patience,
        name=f"{method} on {Path(cell_folder).name}",
    )
    output = Path(output_folder)
    with atomic_folder(output) as folder:
        write_adapter(folder, training.best_state, peft_model.active_peft_config)
        with open(folder / "curve.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("step", "training_loss", "validation_loss"))
            writer.writerows((step, *(f"{loss:.6g}" for loss in losses)) for step, *losses in training.curve)
        recovery = {
            "method": method,
            "options": registry.declared()[method].options | dict(options),
            "cell": {
                "path": Path(os.path.relpath(cell_folder, output)).as_posix(),
                "digest": folder_digest(cell_folder),
            },
            "text": _digests(text),
            "validation": _digests(validation or ()),
            "seed": seed,
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "best_step": training.best_step,
            "validation_loss": None if math.isnan(training.best_loss) else round(training.best_loss, 6),
            "parameters_extra": sum(tensor.numel() for tensor in training.best_state.values()),
            "bytes": (folder / WEIGHTS).stat().st_size,
        }
        write_json(folder / RECOVERY, recovery)
    return recovery


def train(
    model: PeftModel,
    batches: Iterator[Batch],
    held_out: list[Batch],
    *,
    steps: int,
    learning_rate: float,
    validate_every: int,
    patience: int,
    name: str = "recovery",
) -> Training:
    """AdamW, a tenth of the steps (20 at most) warming up, then linear decay; only the adapter's tensors move."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0)
    warmup = max(1, min(20, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    training = Training()
    training.note(0, math.nan, validation_loss(model, held_out), model)
    since: list[float] = []
    with progress(name, steps) as advance:
        for step, batch in zip(range(1, steps + 1), batches, strict=False):
            model.train()
            loss = summed_loss(model, batch) / batch.predicts.sum()
            value = loss.item()
            if not math.isfinite(value):
                raise PalimpsestError(
                    f"{name}: the loss is {value} at step {step} with learning_rate {learning_rate}. "
                    f"Try learning_rate: {learning_rate / 10:g}."
                )
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            since.append(value)
            advance(value)
            if step % validate_every == 0 or step == steps:
                training.note(step, sum(since) / len(since), validation_loss(model, held_out), model)
                since = []
                if step - training.best_step >= patience * validate_every:
                    break
    return training


def summed_loss(model: PeftModel, batch: Batch) -> torch.Tensor:
    """Σ −ln p(next token) over the batch. Only positions that predict a real token are projected to the vocabulary."""
    virtual = _virtual_tokens(model)
    keep = torch.nn.functional.pad(batch.predicts, (virtual, 0))

    def select(_, args):
        # (rows, virtual + length, hidden) -> (1, positions, hidden)
        return (args[0][keep].unsqueeze(0),)

    hook = model.get_base_model().get_output_embeddings().register_forward_pre_hook(select)
    try:
        logits = model(input_ids=batch.ids, use_cache=False).logits[0]
    finally:
        hook.remove()
    return cross_entropy(logits.float(), batch.targets, reduction="sum")


@torch.no_grad()
def validation_loss(model: PeftModel, batches: Sequence[Batch]) -> float:
    """Nats a token; not a number without validation text."""
    if not batches:
        return math.nan
    model.eval()
    total = sum(summed_loss(model, batch).item() for batch in batches)
    return total / sum(int(batch.predicts.sum()) for batch in batches)


@contextlib.contextmanager
def progress(name: str, steps: int):
    """A bar on stderr with the loss and the time left; yields a function to call after each step with its loss."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as bar:
        task = bar.add_task(name, total=steps, loss=math.nan)
        yield lambda loss: bar.update(task, advance=1, loss=loss)


def _virtual_tokens(model: PeftModel) -> int:
    configuration = model.active_peft_config
    return configuration.num_virtual_tokens if configuration.is_prompt_learning else 0


def _spread(rows: list[list[int]], count: int) -> list[list[int]]:
    """At most `count` rows, evenly spread over the file, so that every part of it has a say."""
    return rows if len(rows) <= count else [rows[index * len(rows) // count] for index in range(count)]


def _digests(paths: Texts) -> list[dict]:
    paths = [paths] if isinstance(paths, str | Path) else paths
    return [{"name": Path(path).name, "sha256": digest_file(path)} for path in paths]
