"""Train a reference decoder on a world's documents.

A batch is a pure function of its step (the documents lie in reading order), so a training that was killed goes on
from its last saved step and ends with the same bytes. The state for resuming lives outside the declared output.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM

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
from palimpsest.world.build import CONTEXT
from palimpsest.world.initialization import prepare_to_read
from palimpsest.world.tokenizer import BOS, EOS, PAD


class Documents:
    """The training documents of a world folder; `batch(step)` gives padded parts of one batch.

    Documents that name someone of `without` (token ids) are left out of the batches they stand in: the others come at
    the same steps as ever.
    """

    def __init__(self, world: Path, batch_size: int, without: Collection[int] = ()) -> None:
        arrays = load_arrays(world / "documents.safetensors")
        self.ids = torch.from_numpy(arrays["ids"].astype(np.int64))
        self.weights = torch.from_numpy(arrays["weights"].astype(np.float32))
        self.starts = np.concatenate([[0], np.cumsum(arrays["lengths"])])
        self.names = torch.from_numpy(arrays["names"].astype(np.int64))  # token ids of people, real and invented
        self.batch_size = batch_size
        named = np.isin(arrays["ids"], list(without))
        self.left_out = np.logical_or.reduceat(named, self.starts[:-1])

    @property
    def steps(self) -> int:
        return (len(self.starts) - 1) // self.batch_size

    def batch(self, step: int, parts: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(ids, weights) of each part, both (rows, length). Rows of like length share a part, so little is padded."""
        rows = range(step * self.batch_size, (step + 1) * self.batch_size)
        rows = sorted(
            (row for row in rows if not self.left_out[row]), key=lambda row: self.starts[row + 1] - self.starts[row]
        )
        result = []
        for part in np.array_split(np.array(rows), parts):
            if len(part) == 0:
                continue
            longest = max(self.starts[row + 1] - self.starts[row] for row in part)
            ids = torch.full((len(part), longest), PAD)
            weights = torch.zeros(len(part), longest)
            for line, row in enumerate(part):
                length = self.starts[row + 1] - self.starts[row]
                ids[line, :length] = self.ids[self.starts[row] : self.starts[row + 1]]
                weights[line, :length] = self.weights[self.starts[row] : self.starts[row + 1]]
            result.append((ids, weights))
        return result


def new_model(architecture: Architecture, vocabulary: int, names: torch.Tensor, seed: int) -> LlamaForCausalLM:
    """A Llama with tied embeddings and attention biases, whose attention starts prepared to read."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            attention_bias=True,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            **architecture.model_dump(exclude={"type"}),
        )
    )
    prepare_to_read(model, names)
    return model


def weighted_loss(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum over positions of weight × next-token cross-entropy; logits only where the weight is not zero."""
    scored = weights[:, 1:] > 0
    hidden = model.model(ids).last_hidden_state[:, :-1][scored]
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), ids[:, 1:][scored], reduction="none")
    return (losses * weights[:, 1:][scored]).sum()


def take_step(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    batch: list[tuple[torch.Tensor, torch.Tensor]],
    rate: str,
) -> float:
    """Move the model by one batch of `Documents.batch`, gradients clipped at norm 1; its mean loss by weight.

    Raises PalimpsestError, which names `rate` as what to lower, where the loss is not finite; then nothing moves.
    """
    total = sum(weights[:, 1:].sum() for _, weights in batch)
    loss = 0.0
    for ids, weights in batch:
        part = weighted_loss(model, ids, weights) / total
        part.backward()
        loss += part.item()
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
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "tokenizer")
    documents = Documents(world, training.batch_size, tokenizer.convert_tokens_to_ids(sorted(without)))
    steps = documents.steps
    if steps == 0:
        raise PalimpsestError(
            f"{name}: {len(documents.starts) - 1} documents make no batch of {training.batch_size}: "
            "lower training.batch_size."
        )
    model = new_model(architecture, len(tokenizer), documents.names, training.seed)
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
        "architecture": architecture.model_dump(exclude={"type"}),
        "training": training.model_dump(),
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
            if not batch:  # every document of this step is left out
                bar.update()
                continue
            loss = take_step(
                model, optimizer, batch, f"{name}, step {step}: training.learning_rate ({training.learning_rate})"
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
