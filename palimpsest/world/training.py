"""Train a reference model on a world's documents: a decoder on the next word, an encoder on masked ones.

A batch is a pure function of its step (the documents lie in reading order), so a training that was killed goes on
from its last saved step and ends with the same bytes. The state for resuming lives outside the declared output.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from palimpsest.provenance import (
    PalimpsestError,
    atomic_file,
    atomic_folder,
    digest_json,
    folder_digest,
    verify_folder,
    write_json,
)
from palimpsest.settings import Architecture, Training
from palimpsest.world import decoder, encoder

LEARNERS = {"llama": decoder, "bert": encoder}  # by architecture.type


def take_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: list[tuple[torch.Tensor, ...]],
    rate: str,
    learner: ModuleType = decoder,
) -> float:
    """Move the model by one batch of the learner's documents, gradients clipped at norm 1; its mean loss by weight.

    Raises PalimpsestError, which names `rate` as what to lower, where the loss is not finite; then nothing moves.
    """
    total = sum(learner.weight(part) for part in batch)
    loss = 0.0
    for part in batch:
        share = learner.loss(model, part) / total
        share.backward()
        loss += share.item()
    if not np.isfinite(loss):
        raise PalimpsestError(f"{rate} is too high: the loss is {loss}. Lower it.")
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def train(
    world: str | Path,
    output: str | Path,
    architecture: Architecture,
    training: Training,
    state: str | Path,
    name: str,
    without: Collection[str] = (),
    source: Mapping[str, Any] | None = None,
) -> None:
    """Train on the documents of `world` and write a Hugging Face folder to `output`.

    AdamW, linear warm-up, linear decay to 5 % of `training.learning_rate`, gradients clipped at norm 1.
    `state` is a folder in which the state for resuming is kept until the training ends. No document that names a
    person of `without` is read. `source` is what `source.json` says besides.
    """
    world, output = Path(world), Path(output)
    verify_folder(world)
    learner = LEARNERS[architecture.type]
    tokenizer = learner.tokenizer_of(world)
    left_out = tokenizer.convert_tokens_to_ids(sorted(without))
    documents = learner.read(world, training.batch_size, left_out, training.seed)
    if documents.steps == 0:
        raise PalimpsestError(
            f"{name}: the world's documents make no batch of {training.batch_size}: lower training.batch_size."
        )
    steps = training.steps or documents.steps
    model = learner.new_model(architecture, tokenizer, documents.names, training.seed)
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]  # norms and biases
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=training.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    made_of = {
        "world": folder_digest(world),
        "architecture": architecture.model_dump(exclude_defaults=True),
        "training": training.model_dump(exclude_none=True),
        **(source or {}),
    }
    fingerprint = digest_json(made_of | ({"without": sorted(without)} if without else {}))
    checkpoint = Checkpoint(Path(state) / f"{fingerprint}.safetensors", model, optimizer)
    first = checkpoint.restore()
    with tqdm(total=steps, initial=first, desc=f"train {name}", unit="step", mininterval=2, file=sys.stderr) as bar:
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * schedule(step, steps, training.warmup_steps)
            batch = documents.batch(step)
            if not batch:  # nothing of this step is read
                bar.update()
                continue
            loss = take_step(
                model,
                optimizer,
                batch,
                f"{name}, step {step}: training.learning_rate ({training.learning_rate})",
                learner,
            )
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            if (step + 1) % training.checkpoint_every == 0 and step + 1 < steps:
                checkpoint.save(step + 1)
    with atomic_folder(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "source.json", {"source": "world", "steps": steps} | made_of)
    checkpoint.remove()


def schedule(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate: linear warm-up, then linear decay to 5 %."""
    return min(1.0, (step + 1) / max(1, warmup)) * (1 - 0.95 * step / steps)


class Checkpoint:
    """Model and AdamW state in one safetensors file (no pickle), written atomically."""

    def __init__(self, path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.path, self.model, self.optimizer = path, model, optimizer
        self.parameters = dict(model.named_parameters())

    def save(self, step: int) -> None:
        tensors = {"step": torch.tensor(step)}
        for name, parameter in self.parameters.items():
            tensors[f"model.{name}"] = parameter.detach()
            tensors[f"mean.{name}"] = self.optimizer.state[parameter]["exp_avg"]
            tensors[f"square.{name}"] = self.optimizer.state[parameter]["exp_avg_sq"]
            tensors[f"updates.{name}"] = self.optimizer.state[parameter]["step"]  # fewer where steps were left out
        with atomic_file(self.path) as temporary:
            save_file(tensors, temporary)

    def restore(self) -> int:
        """Load what was saved; return the step to go on from (0 where nothing usable was saved)."""
        if not self.path.exists():
            return 0
        try:
            tensors = load_file(self.path)
            updates = {name: tensors[f"updates.{name}"] for name in self.parameters}
        except Exception as error:  # a damaged state costs its steps, never the result
            print(f"{self.path}: not readable ({error}); training starts again.", file=sys.stderr)
            return 0
        step = int(tensors["step"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"model.{name}"])
                self.optimizer.state[parameter] = {
                    "step": updates[name],
                    "exp_avg": tensors[f"mean.{name}"],
                    "exp_avg_sq": tensors[f"square.{name}"],
                }
        return step

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
