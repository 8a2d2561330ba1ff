"""The matrices that a low-rank adapter stands beside."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from palimpsest.checks.problems import did_you_mean, nearest
from palimpsest.provenance import PalimpsestError


def matrices(method: str, model: nn.Module, modules: Sequence[str]) -> dict[str, tuple[int, int]]:
    """name -> (out, in) of every layer that one of `modules` names; raises PalimpsestError where one names none."""
    shapes = {name: shape for name, layer in model.named_modules() if (shape := _shape(layer))}
    found = {}
    for module in modules:
        ending = {name: shape for name, shape in shapes.items() if name == module or name.endswith(f".{module}")}
        if not ending:
            known = sorted({name.rsplit(".", 1)[-1] for name in shapes})
            raise PalimpsestError(
                f'recovery {method}: modules: no linear layer of this model is called "{module}"; '
                f"it has {', '.join(known)}.{did_you_mean(nearest(module, known))}"
            )
        found |= ending
    return found


def _shape(layer: nn.Module) -> tuple[int, int] | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return tuple(reversed(layer.weight.shape)) if isinstance(layer, Conv1D) else None
