"""The loop that trains an adapter or an encoder: AdamW, early stopping, and what is kept when it fails."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from palimpsest.finetuning.checkpoint import Checkpoint, trainable
from palimpsest.provenance import PalimpsestError

State = dict[str, torch.Tensor]
NO_NUMBER = "what is trained is no number"


class Batch(Protocol):
    """Rows of one step."""

    @property
    def count(self) -> int:
        """Over how many predictions the loss is summed."""


Objective = Callable[[torch.nn.Module, Any], torch.Tensor]  # the loss, summed over the predictions of a batch


@dataclass
class Training:
    """The best state, and the curve: rows of (step, mean training loss since the last row, validation loss).

    `good` are the trained tensors with which the last finite loss was seen; `stopped` says why a training ended early.
    """

    validated: bool  # without validation text the last state is the best
    state: Callable[[torch.nn.Module], State]  # what is kept of a model
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    since: list[float] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = math.inf
    best_state: State = field(default_factory=dict)
    good: State = field(default_factory=dict)
    stopped: dict[str, Any] | None = None

    def note(self, step: int, validation: float, model: torch.nn.Module) -> None:
        """A row of the curve; the state is kept if it is the best so far."""
        training = sum(self.since) / len(self.since) if self.since else math.nan
        self.curve.append((step, training, validation))
        self.since = []
        if validation < self.best_loss or not self.validated:
            self.best_step, self.best_loss, self.best_state = step, validation, self.state(model)

    def record(self) -> dict[str, Any]:
        """What a checkpoint keeps besides tensors."""
        return {"curve": self.curve, "since": self.since, "best_step": self.best_step, "best_loss": self.best_loss}

    def restore(self, record: dict[str, Any], good: State, best: State) -> None:
        self.curve, self.since = [tuple(row) for row in record["curve"]], record["since"]
        self.best_step, self.best_loss, self.best_state = record["best_step"], record["best_loss"], best
        self.good = good


def train(
    model: torch.nn.Module,
    objective: Objective,
    batches: Iterator[Batch],
    held_out: list[Batch],
    *,
    steps: int,
    learning_rate: float,
    validate_every: int,
    patience: int,
    state: Callable[[torch.nn.Module], State],
    clip: float | None = None,
    checkpoint: Checkpoint | None = None,
    name: str = "recovery",
) -> Training:
    """Train for `steps`, or until `patience` validations in a row, one every `validate_every` steps, are no better.

    Only tensors that want a gradient move; `state` says what is kept of the model. clip: largest norm of the gradient
    of a step. A loss that is no number ends the training: the state with which the last finite loss was seen is
    validated, and the best is kept. PalimpsestError if none was trained by then.
    """
    parameters = trainable(model)
    optimizer = torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=0.0)
    checkpoint = checkpoint or Checkpoint(None, {})
    training = Training(bool(held_out), state)
    done = checkpoint.restore(model, optimizer, training)
    if not done:
        training.note(0, mean(objective, model, held_out), model)
        if not training.best_state:
            raise PalimpsestError(f"{name}: the validation loss is {training.curve[0][2]} before any training.")
    failed = None  # (what happened, updates behind the last finite loss)
    with progress(name, steps, done) as advance:
        for step, batch in zip(range(done + 1, steps + 1), itertools.islice(batches, done, None), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * schedule(step, steps)
            model.train()
            loss = objective(model, batch) / batch.count
            value = loss.item()
            if not math.isfinite(value):
                failed = f"the loss is {value} at step {step}", step - 2
                break
            training.good = {name: parameter.detach().clone() for name, parameter in parameters.items()}
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters.values(), clip)
            optimizer.step()
            optimizer.zero_grad()
            training.since.append(value)
            advance(value)
            if step % validate_every == 0 or step == steps:
                validation = mean(objective, model, held_out)
                if not _finite(parameters, validation if held_out else 0.0):
                    what = f"the loss on validation text is {validation}" if held_out else NO_NUMBER
                    failed = f"{what} after step {step}", step - 1
                    break
                training.note(step, validation, model)
                if held_out and step - training.best_step >= patience * validate_every:
                    break
            if checkpoint.due():
                checkpoint.save(step, model, optimizer, training)
    if failed:
        what, updates = f"{name}: {failed[0]} with learning_rate {learning_rate}", failed[1]
        advice = f"Try learning_rate: {learning_rate / 10:g}."
        if updates < 1:
            raise PalimpsestError(f"{what}, and there is no trained state from before. {advice}")
        _back_to_good(training, updates, model, objective, held_out)
        training.stopped = {"why": failed[0], "kept": training.best_step}
        print(f"warning: {what}: stopped; the state of step {training.best_step} is kept. {advice}", file=sys.stderr)
    return training


def _back_to_good(
    training: Training, step: int, model: torch.nn.Module, objective: Objective, held_out: list[Batch]
) -> None:
    """The state with which the last finite loss was seen, after `step` updates, gets its row of the curve."""
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(training.good[name])
    if (more := step - training.curve[-1][0]) > 0:
        training.since = training.since[:more]
        training.note(step, mean(objective, model, held_out), model)


@torch.no_grad()
def mean(objective: Objective, model: torch.nn.Module, batches: Sequence[Batch]) -> float:
    """The objective a prediction, without dropout; not a number without batches."""
    if not batches:
        return math.nan
    model.eval()
    total = sum(objective(model, batch).item() for batch in batches)
    return total / sum(batch.count for batch in batches)


def _finite(parameters: dict[str, torch.nn.Parameter], validation: float) -> bool:
    return math.isfinite(validation) and all(bool(parameter.isfinite().all()) for parameter in parameters.values())


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step (from 1 on): a tenth of them, 20 at most, warming up, then linear decay."""
    warmup = max(1, min(20, steps // 10))
    return min(step / warmup, (steps - step + 1) / max(1, steps - warmup))


@contextlib.contextmanager
def progress(name: str, steps: int, done: int = 0) -> Iterator[Callable[[float], None]]:
    """A bar on stderr with the loss and the time left; yields a function to call after each step with its loss."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as bar:
        task = bar.add_task(name, total=steps, completed=done, loss=math.nan)
        yield lambda loss: bar.update(task, advance=1, loss=loss)
