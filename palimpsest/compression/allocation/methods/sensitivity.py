"""ASVD's search: matrices that the loss can spare go first."""

from __future__ import annotations

from palimpsest.compression.allocation.budget import Budget, Matrix, Steps
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Shares
from palimpsest.levels import Bits, Joint, Level, NofM
from palimpsest.provenance import PalimpsestError

Entry = tuple[str, int, float]  # matrix, step of its ladder, the model's loss with that matrix alone at that step


@allocation(
    "sensitivity",
    calibrated=True,
    budget=True,
    measures=True,
    formula="each matrix takes the hardest level at which, alone, it leaves the loss under τ; τ so that the sum is met",
    cost="a pass of the calibration through the model for each matrix and each level of the ladder",
)
def sensitivity(case: Case, *, shares: Shares = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)) -> dict[str, Level]:
    """Compress hardest what, compressed alone, costs the model least (STRS of ASVD, Yuan et al., arXiv:2312.05821).

    The model's loss is measured with one matrix at a time at each of the `shares` that it may keep (N:M and bits: at
    every level), and one threshold for the loss is searched. Matrices may stay dense. The published search ends up to a
    step of the ladder away from what is asked; here the matrices whose turn was next share what is left over.
    """
    entries: list[Entry] = []
    for matrix, weight, statistics in case.layers(case.measuring_needs):
        ladder = case.budget.ladders[matrix.name]
        for step in ladder_steps(case.budget, matrix, shares):
            level = ladder.level(step)

            def loss() -> float:
                found = case.compressed(matrix, weight, statistics, level)  # noqa: B023 - called at once
                return case.losses.loss({matrix.name: found})  # noqa: B023

            if level is not None:
                entries.append((matrix.name, step, case.once(f"{matrix.name} {level.text}", loss)))
    case.measured["losses"] = {"dense": case.once("dense", lambda: case.losses.loss({}))}
    for name, step, loss in entries:
        case.measured["losses"].setdefault(name, {})[case.budget.ladders[name].level(step).text] = loss
    return case.budget.levels(search(entries, case.budget))


def ladder_steps(budget: Budget, matrix: Matrix, shares: list[float]) -> list[int]:
    """The steps at which a matrix is measured: all of a short ladder, those of the shares of a long one."""
    level = budget.level.pruning if isinstance(budget.level, Joint) else budget.level
    if isinstance(level, Bits | NofM):
        return list(range(len(budget.ladders[matrix.name].costs)))
    return sorted({budget.step(matrix.name, share * budget.top(matrix.name)) for share in shares})


def search(entries: list[Entry], budget: Budget) -> Steps:
    """The threshold on the loss at which the matrices cost what is asked, and the step of each below it.

    A matrix takes the hardest of its steps whose loss is not above the threshold; the mildest there is where all are.
    """
    by_loss = sorted(entries, key=lambda entry: -entry[2])
    top = {name: len(ladder.costs) - 1 for name, ladder in budget.ladders.items()}

    def under(first: int) -> Steps:
        steps = dict(top)
        for name, step, _ in by_loss[first:]:
            steps[name] = min(steps[name], step)
        return steps

    if (least := budget.cost(under(0))) > budget.asked:
        raise PalimpsestError(
            f"sensitivity: with every matrix at the hardest level that was tried they cost {budget.mean(least):.4g} a "
            f"weight, and {budget.mean(budget.asked):.4g} is asked: give smaller shares."
        )
    low, high = 0, len(by_loss)  # the cost grows with the number of entries that are struck off
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if budget.cost(under(middle)) <= budget.asked else (low, middle - 1)
    turn: dict[str, float] = {}
    for place, (name, _, _) in enumerate(by_loss[low:]):
        turn.setdefault(name, -place)
    return budget.fill(under(low), lambda name, _: turn.get(name, -len(by_loss)))
