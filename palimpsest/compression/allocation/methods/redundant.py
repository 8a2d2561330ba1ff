"""Most redundant parts first."""

from __future__ import annotations

from palimpsest.compression.allocation import curves
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Share
from palimpsest.levels import Level


@allocation(
    "redundant",
    calibrated=True,
    budget=True,
    measures=True,
    formula="ρ_l = 1 - E‖(W - W')x‖² / E‖Wx‖², W' of a share `lowest` of W's cost; those of largest ρ become W', "
    "one by one, until Σ cost = asked",
    cost="a pass of the calibration through the dense blocks, one sort or factorization a matrix",
)
def redundant(case: Case, *, lowest: Share = 0.25) -> dict[str, Level]:
    """Compress the most redundant matrices hard and leave the others dense (own; after Pletenev, 2024).

    A matrix is redundant if most of what it answers is there after all but a share `lowest` of it is gone: ρ is the
    share of the answers' energy that survives, on the inputs that the dense model gives it. For ranks it says how low
    the rank of the answers is (the whitened singular values), which that of the weights does not. The last matrix
    that is compressed gets a level in between, so that the budget is met. No loss of the whole model is looked at;
    the allocation laser does that.
    """
    hard, redundancy = {}, {}
    for matrix, weight, statistics in case.layers(curves.needs_of(case)):
        errors, energy = case.once(
            f"curve of {matrix.name}",
            lambda: list(curves.curve(case, matrix, weight, statistics)),  # noqa: B023 - called at once
        )
        hard[matrix.name] = case.budget.step(matrix.name, lowest * case.budget.top(matrix.name))
        redundancy[matrix.name] = 1 - errors[hard[matrix.name]] / energy if energy > 0 else 1.0
    case.measured["redundancy"] = redundancy
    order = sorted(hard, key=lambda name: -redundancy[name])
    return case.budget.levels(case.budget.one_by_one({name: hard[name] for name in order}))
