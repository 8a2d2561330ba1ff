"""The state of a training, so that one that was killed goes on and ends with the same bytes.

One safetensors file under the digest of what is trained: the trained tensors, AdamW's moments, the state of the random
numbers (dropout), the best and the last good tensors, and the curve. The learning rate and the order of the rows are
functions of the step.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from palimpsest.provenance import PalimpsestError, atomic_file, digest_json

if TYPE_CHECKING:
    from palimpsest.finetuning.loop import Training


class Checkpoint:
    """Where the state of one training is kept, and how often; without a `folder` it is not.

    whose: what is trained, on what and how; the state of anything else is refused.
    """

    def __init__(self, folder: Path | str | None, whose: Mapping[str, Any], minutes: float = 2.0) -> None:
        self.whose, self.fingerprint, self.minutes = dict(whose), digest_json(whose), minutes
        self.path = None if folder is None else Path(folder) / f"{self.fingerprint[:32]}.safetensors"
        self.saved = time.monotonic()

    def due(self) -> bool:
        return self.path is not None and time.monotonic() - self.saved >= 60 * self.minutes

    def save(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, training: Training) -> None:
        """Keep the state after `step`."""
        tensors = {"random": torch.get_rng_state()}
        for name, parameter in trainable(model).items():
            moments = optimizer.state[parameter]
            tensors |= {f"adapter/{name}": parameter.detach(), f"good/{name}": training.good[name]}
            tensors |= {f"mean/{name}": moments["exp_avg"], f"square/{name}": moments["exp_avg_sq"]}
        tensors |= {f"best/{name}": tensor for name, tensor in training.best_state.items()}
        record = {"fingerprint": self.fingerprint, "whose": self.whose, "step": step, "training": training.record()}
        with atomic_file(self.path) as temporary:
            # A tensor may be seen through another (a prompt is its own adapter): each is stored by itself.
            save_file(
                {name: tensor.clone() for name, tensor in tensors.items()}, temporary, {"state": json.dumps(record)}
            )
        self.saved = time.monotonic()

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, training: Training) -> int:
        """Put back what was kept; the step after which it was (0 where nothing was).

        Raises PalimpsestError where the state is that of another training. A damaged one costs its steps, nothing else.
        """
        if self.path is None or not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                record = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            print(f"{self.path}: not readable ({error}); training starts again.", file=sys.stderr)
            return 0
        if record["fingerprint"] != self.fingerprint:
            differing = sorted(key for key in self.whose if record["whose"].get(key) != self.whose[key])
            raise PalimpsestError(
                f"{self.path}: the state of another run, which differs in {', '.join(differing)}: it is not resumed. "
                "Delete the file."
            )
        step = record["step"]
        with torch.no_grad():
            for name, parameter in trainable(model).items():
                parameter.copy_(tensors[f"adapter/{name}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": tensors[f"mean/{name}"],
                    "exp_avg_sq": tensors[f"square/{name}"],
                }
        training.restore(record["training"], _under("good/", tensors), _under("best/", tensors))
        torch.set_rng_state(tensors["random"])
        print(f"training goes on after step {step}.", file=sys.stderr)
        return step

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The tensors that training moves."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
