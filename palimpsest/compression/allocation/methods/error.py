"""Least summed error of the layers."""

from __future__ import annotations

from palimpsest.compression.allocation import curves
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Weighting
from palimpsest.levels import Level


@allocation(
    "error",
    calibrated=True,
    budget=True,
    measures=True,
    formula="min Σ a_l e_l s.t. Σ cost_l ≤ asked, e_l = E‖(W - W')x‖²: each matrix at the argmin of a_l e_l + λ·cost_l",
    cost="a pass of the calibration through the dense blocks, one sort or factorization a matrix, one backward pass",
)
def error(case: Case, *, weighting: Weighting = "gradient") -> dict[str, Level]:
    """Share the budget out so that the summed error of the layers' answers is least (own; λ as in Everett, 1963).

    weighting: what an error counts. "gradient": E[(∂L/∂y)²] of that layer's answer y; to second order, and with the
    outputs of all layers taken apart, half of the sum is then what the loss of a token grows by. "energy": 1 / E‖Wx‖²,
    its share of the answer. "none": as it is.
    """
    needs = curves.needs_of(case)
    found: dict[str, list[float]] = {}
    weights = dict.fromkeys((matrix.name for matrix in case.matrices), 1.0)
    if weighting == "gradient":
        weights = case.once("gradients", lambda: case.losses.output_gradients(weights))
    for matrix, weight, statistics in case.layers(needs):
        found[matrix.name], energy = case.once(
            f"curve of {matrix.name}",
            lambda: list(curves.curve(case, matrix, weight, statistics)),  # noqa: B023 - called at once
        )
        if weighting == "energy" and energy > 0:
            weights[matrix.name] = 1 / energy
    weighted = {name: [weights[name] * value for value in errors] for name, errors in found.items()}
    steps, threshold = curves.least_error(weighted, case.budget)
    case.measured |= {
        "threshold": threshold,
        "weights": weights,
        "errors": {name: found[name][step] for name, step in steps.items()},
    }
    return case.budget.levels(steps)
