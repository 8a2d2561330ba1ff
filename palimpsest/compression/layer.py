"""One matrix, compressed: the checks that all methods share, and the public `compress_weight`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest import levels
from palimpsest.compression import registry
from palimpsest.compression.statistics import Statistics, finite
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError


def compress_weight(
    weight: Float[Tensor, "out in"],
    inputs: Float[Tensor, "tokens in"] | None,
    method: str,
    level: str,
    seed: int = 0,
    **options: Any,
) -> CompressedWeight:
    """Compress one matrix by the method of that name.

    weight: (out, in), floating point. inputs: (tokens, in), or None for a method that looks at weights only.
    level: e.g. "0.5", "2:4", "4g128", "k0.8". options: those of the method (`palimpsest.methods()` lists them).
    A method that needs Fisher information takes that of L = ½‖Wx‖² here, since one matrix has no loss of its own.
    Returns a CompressedWeight with `dense()`, `nbytes` and `bits_per_weight`. Raises PalimpsestError on an unknown
    method, option or level, and on weights or inputs that are not finite or do not fit together.
    """
    found = registry.declaration(method)
    for name, value in (("weight", weight), ("inputs", inputs)):
        if not isinstance(value, Tensor) and (name == "weight" or value is not None):
            raise PalimpsestError(f"{name}: a torch tensor is wanted, not {type(value).__name__}.")
    check_weight(weight, "weight")
    statistics = Statistics(weight.shape[1], "weight", found.needs)
    if found.needs and inputs is not None:
        if inputs.ndim != 2 or not inputs.is_floating_point():
            raise PalimpsestError(
                f"inputs: a floating-point tensor (tokens, in) is wanted, not {inputs.dtype} {tuple(inputs.shape)}."
            )
        inputs = inputs.detach().cpu()
        statistics.add(inputs)
        if "fisher" in found.needs:
            statistics.fisher = output_energy_fisher(weight.detach().cpu(), inputs)
    elif found.needs:
        raise PalimpsestError(
            f"weight: {method} needs inputs ({', '.join(found.needs)}) and got None: give calibration inputs "
            "(tokens, in)."
        )
    return compress_layer("weight", weight, statistics, method, levels.parse(level), seed, options)


def compress_layer(
    name: str,
    weight: Float[Tensor, "out in"],
    statistics: Statistics,
    method: str,
    level: levels.Level,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> CompressedWeight:
    """Check, compress, check. `name` is the layer, for errors. Values come back in the data type of `weight`."""
    found = registry.declaration(method)
    complete = registry.complete_options(method, options or {})
    if not found.takes(level):
        examples = " or ".join(f"{syntax}, e.g. {some[0]!r}" for syntax, some in found.examples.items())
        raise PalimpsestError(f"{name}: {method} has no level {level.text!r}; it takes {examples}.")
    check_weight(weight, name)
    if found.needs:
        if statistics.width != weight.shape[1]:
            raise PalimpsestError(
                f"{name}: inputs of width {statistics.width} where the weight has {weight.shape[1]} columns."
            )
        if statistics.tokens == 0:
            raise PalimpsestError(f"{name}: {method} needs inputs and there are 0 tokens of them.")
    if found.seeded:
        complete["seed"] = seed
    if complete.get("scale_bits") == 0:  # scales, like values and factors, take the precision of the checkpoint
        complete["scale_bits"] = 16 if weight.element_size() == 2 else 32
    # Half precision is the checkpoint's, not the arithmetic's.
    precise = weight.detach().cpu().to(torch.float64 if weight.dtype == torch.float64 else torch.float32)
    compressed = registry.function(method)(precise, statistics, level, **complete).to(weight.dtype)
    if not (compressed.surely_finite() or finite(compressed.dense())):
        raise PalimpsestError(f"{name}: {method} at level {level.text} gave NaN or infinite weights.")
    return compressed


def check_weight(weight: Tensor, name: str) -> None:
    """Raise PalimpsestError unless `weight` is a finite floating-point matrix."""
    if weight.ndim != 2 or not weight.is_floating_point() or weight.numel() == 0:
        raise PalimpsestError(
            f"{name}: a floating-point matrix (out, in) is wanted, not {weight.dtype} {tuple(weight.shape)}."
        )
    if not finite(weight):
        count = int((~torch.isfinite(weight)).sum())
        raise PalimpsestError(
            f"{name}: {count} of {weight.numel()} weights are NaN or infinite: the checkpoint is damaged."
        )


def output_energy_fisher(
    weight: Float[Tensor, "out in"], inputs: Float[Tensor, "tokens in"]
) -> Float[Tensor, "out in"]:
    """E[(∂L/∂W)²] over the tokens for L = ½‖Wx‖²: E[y_i² x_j²] with y = Wx."""
    x = inputs.float()
    return (x @ weight.float().T).square().T @ x.square() / len(x)


def relative_error(weight: Float[Tensor, "out in"], compressed: CompressedWeight, statistics: Statistics) -> dict:
    """How much of the layer's answer is lost, and on what that was measured ("error", "error_on"); None for 0 / 0.

    "inputs": ‖WX - W'X - b‖² / ‖WX‖², where the method needs the Gram matrix of X; b is the bias that it adds. "input
    norms": the same as if channels were uncorrelated, where it needs the norms only (a Gram matrix costs more than all
    of Wanda). "weights": ‖W - W'‖² / ‖W‖², where it looks at no inputs.
    """
    weight = weight.float()
    if compressed.loss is not None:
        whole = statistics.once(("energy",), lambda: statistics.energy(weight))
        return {"error": compressed.loss / whole if whole > 0 else None, "error_on": "inputs"}
    difference = weight - compressed.dense().float()
    if "gram" in statistics.needs:
        measured, part = "inputs", statistics.energy(difference)
        if compressed.bias is not None:  # E‖Dx - b‖² with D = W - W'
            bias = compressed.bias.double()
            part += (bias @ (bias - 2 * difference.double() @ statistics.input_means.double())).item()
            part = max(part, 0.0)
        whole = statistics.once(("energy",), lambda: statistics.energy(weight))
    elif statistics.tokens:
        norms, measured = statistics.input_norms, "input norms"
        part = _energy(difference.mul_(norms))
        whole = statistics.once(("energy",), lambda: _energy(weight * norms))
    else:
        measured, part = "weights", _energy(difference)
        whole = statistics.once(("energy",), lambda: _energy(weight.clone()))
    return {"error": part / whole if whole > 0 else None, "error_on": measured}


def _energy(scratch: Float[Tensor, "out in"]) -> float:
    return scratch.square_().sum(dtype=torch.float64).item()
