"""What a matrix loses at each level that it can have: its error curve, and the choice of levels by such curves.

The error is that of its answer, E‖(W - W')x‖². Wanda's curve at all sparsities comes from one sort, SVD-LLM's at all
ranks from one factorization; that of another method from compressing at some levels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.allocation.budget import Budget, Matrix, Steps
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.statistics import Statistics
from palimpsest.levels import Joint, Level, NofM, Sparsity

POINTS = 17  # levels at which a matrix is compressed where no closed form gives its curve
DAMPING = 1e-6  # of SVD-LLM, by default


def needs_of(case: Case) -> set[str]:
    """The statistics from which curves are made. Wanda's own are cheaper than the Gram matrix of the rest."""
    return {"input_norms"} if _sorted(case) else {"gram"} | case.measuring_needs


def curve(case: Case, matrix: Matrix, weight: Tensor, statistics: Statistics) -> tuple[list[float], float]:
    """The error at each step of the matrix's ladder, and E‖Wx‖², both summed over the outputs."""
    weight = weight.float()
    if _sorted(case):
        squares = (weight * statistics.input_norms).square() / statistics.tokens
        errors = pruning_errors(squares, _pruning(case.level))
        return errors, squares.sum(dtype=torch.float64).item()
    energy = _energy(weight, statistics.gram)
    if case.measured_with == "svd-llm":
        return rank_errors(weight, statistics, len(case.budget.ladders[matrix.name].costs)), energy
    return _compressed_errors(case, matrix, weight, statistics), energy


def pruning_errors(squares: Float[Tensor, "out in"], level: Sparsity | NofM) -> list[float]:
    """Σ of the smallest w_j²·E[x_j²], dropped within rows (or their groups), at each step of a ladder of sparsity.

    The last of the errors is 0: everything is kept.
    """
    columns = squares.shape[1]
    if isinstance(level, Sparsity):
        lost = squares.sort(dim=1).values.sum(0, dtype=torch.float64).cumsum(0)
        return [*lost[: columns - 1].flip(0).tolist(), 0.0]
    whole = columns - columns % level.group
    groups = squares[:, :whole].reshape(-1, level.group).sort(dim=1).values.sum(0, dtype=torch.float64)
    rest = squares[:, whole:].sort(dim=1).values.sum(0, dtype=torch.float64)
    dropped = range(level.group - 1, -1, -1)
    return [(groups[:count].sum() + rest[: len(rest) * count // level.group].sum()).item() for count in dropped]


def rank_errors(weight: Float[Tensor, "out in"], statistics: Statistics, steps: int) -> list[float]:
    """Σ of the dropped σ² of the whitened matrix at ranks 1 to steps - 1, and 0 for the dense matrix."""
    w = weight.double()
    if len(w) > w.shape[1]:
        w = torch.linalg.qr(w, mode="r").R  # W = QR, and Q changes no singular value
    energies = torch.linalg.eigvalsh(w @ statistics.damped_gram(DAMPING) @ w.T).clamp(min=0)  # ascending
    dropped = torch.cat([torch.zeros(1, dtype=torch.float64), energies.cumsum(0)]).flip(0)
    return [*dropped[1:steps].tolist(), 0.0]


def least_error(curves: Mapping[str, Sequence[float]], budget: Budget) -> tuple[Steps, float]:
    """The levels of least summed error within the budget, and the multiplier λ that finds them.

    For a λ, each matrix takes the level of least error + λ · cost: a corner of the convex hull of its curve. The
    smallest λ that the budget allows is found exactly, by going up all hulls in the order of the error that a unit of
    cost saves. What is left over then goes to what still fits, in the same order: first steps along the hulls, then
    single levels.
    """
    names, ends, costs, slopes = [], [], [], []
    for name, errors in curves.items():
        ladder = budget.ladders[name].costs
        slope = math.inf
        for below, above in itertools.pairwise(_hull(ladder, errors)):
            cost = ladder[above] - ladder[below]
            slope = min(slope, (errors[below] - errors[above]) / cost)  # rounding apart, it falls by itself
            names.append(name)
            ends.append(above)
            costs.append(cost)
            slopes.append(slope)
    steps = {name: _hull(budget.ladders[name].costs, errors)[0] for name, errors in curves.items()}
    left = budget.asked - budget.cost(steps)
    threshold, stopped = 0.0, set()
    for index in np.argsort(-np.array(slopes), kind="stable"):
        name = names[index]
        if name in stopped:
            continue
        if costs[index] <= left:
            steps[name] = ends[index]
            left -= costs[index]
            continue
        threshold = threshold or slopes[index]
        stopped.add(name)

    def saved(name: str, step: int) -> float:
        ladder, errors = budget.ladders[name].costs, curves[name]
        rise = ladder[step + 1] - ladder[step]
        return (errors[step] - errors[step + 1]) / rise if rise else math.inf

    return budget.fill(steps, saved), threshold


def _pruning(level: Level) -> Level:
    return level.pruning if isinstance(level, Joint) else level


def _sorted(case: Case) -> bool:
    return case.measured_with == "wanda" and isinstance(_pruning(case.level), Sparsity | NofM)


def _energy(weight: Float[Tensor, "out in"], gram: Float[Tensor, "in in"]) -> float:
    return ((weight @ gram) * weight).sum(dtype=torch.float64).clamp(min=0).item()


def _compressed_errors(case: Case, matrix: Matrix, weight: Tensor, statistics: Statistics) -> list[float]:
    ladder = case.budget.ladders[matrix.name]
    top = len(ladder.costs) - 1
    some = sorted({round(step) for step in np.linspace(0, top, min(POINTS, top + 1))})
    errors = []
    for step in some:
        level = ladder.level(step)
        lost = 0.0
        if level is not None:
            lost = _energy(weight - case.compressed(matrix, weight, statistics, level).dense().float(), statistics.gram)
        errors.append(lost)
    return np.interp(ladder.costs, [ladder.costs[step] for step in some], errors).tolist()


def _hull(costs: Sequence[int], errors: Sequence[float]) -> list[int]:
    """The steps on the lower convex hull of (cost, error); of equal costs the last one counts."""
    corners: list[int] = []
    for step, (cost, error) in enumerate(zip(costs, errors, strict=True)):
        if corners and costs[corners[-1]] == cost:
            corners.pop()
        while len(corners) > 1:
            before, last = corners[-2:]
            rise = (errors[last] - errors[before]) * (cost - costs[before])
            chord = (error - errors[before]) * (costs[last] - costs[before])
            # On a straight piece every step is a corner, so that the budget may end at any of them.
            if rise <= chord + 1e-9 * abs(chord):
                break
            corners.pop()
        corners.append(step)
    return corners
