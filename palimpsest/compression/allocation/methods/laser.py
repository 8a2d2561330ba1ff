"""LASER: the matrix that the model misses least; or several, one after another."""

from __future__ import annotations

from palimpsest import levels as grammar
from palimpsest.compression.allocation.budget import LADDERS
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.registry import WHOLE, allocation
from palimpsest.compression.ranges import Levels, Whose
from palimpsest.compression.weights import CompressedWeight
from palimpsest.levels import Level
from palimpsest.provenance import PalimpsestError


@allocation(
    "laser",
    calibrated=True,
    measures=True,
    formula="argmin over (block, module, level) of the loss with that matrix alone compressed; budget: whole: again "
    "and again, argmin of (loss with it too - loss without) / cost saved, until Σ cost = asked",
    cost="a pass of the calibration through the model for each matrix and level; budget: whole: and some for each "
    "matrix that is chosen, with all compressed matrices in memory",
    version="2",
)
def laser(case: Case, *, levels: Levels = (), budget: Whose = "chosen") -> dict[str, Level]:
    """Compress one matrix, the one that alone at that level gives the lowest loss (Sharma et al., arXiv:2312.13558).

    levels: those to choose from beside the level asked (LASER's ρ). budget: "chosen" is the published search, of one
    matrix. "whole" (own) goes on, one matrix after another, until the whole model costs what is asked: each time with
    the matrix, at one of `levels`, that makes the loss rise least for a parameter (or bit) that it saves, while those
    before it stay compressed. A matrix is measured again only when it is first in the queue (Minoux, 1978), and the
    last one gets a level in between. The published search also composes several, by keeping what improves the answers.
    """
    given = [grammar.parse(text) for text in levels]
    choices = list(dict.fromkeys(given if budget == WHOLE else [case.level, *given]))
    if not choices:
        raise PalimpsestError(
            f"laser: budget: whole chooses among levels that are harder than {case.level}: give them."
        )
    if other := [level for level in choices if level.syntax != case.level.syntax]:
        raise PalimpsestError(f"laser: {other[0].text} is not of the same kind as {case.level.text}.")
    if budget == WHOLE:
        return _several(case, choices)
    losses: dict[tuple[str, Level], float] = {}
    for matrix, weight, statistics in case.layers(case.measuring_needs):
        for level in choices:

            def loss() -> float:
                found = case.compressed(matrix, weight, statistics, level)  # noqa: B023 - called at once
                return case.losses.loss({matrix.name: found})  # noqa: B023

            losses[matrix.name, level] = case.once(f"{matrix.name} {level.text}", loss)
    case.measured["losses"] = {"dense": case.once("dense", lambda: case.losses.loss({}))}
    for (name, level), found in losses.items():
        case.measured["losses"].setdefault(name, {})[level.text] = found
    name, level = min(losses, key=losses.get)
    return {name: level}


def _several(case: Case, choices: list[Level]) -> dict[str, Level]:
    budget = case.budget
    compressed: dict[tuple[str, int], CompressedWeight] = {}
    for matrix, weight, statistics in case.layers(case.measuring_needs):
        for choice in choices:
            step = budget.step(matrix.name, float(LADDERS[choice.syntax](matrix, choice).asked))
            if (level := budget.ladders[matrix.name].level(step)) is not None:
                compressed[matrix.name, step] = case.compressed(matrix, weight, statistics, level)
    top, chosen = budget.highest(), {}  # the steps of all, and of those that are compressed
    loss = case.once("dense", lambda: case.losses.loss({}))
    case.measured["losses"] = [{"matrix": None, "level": None, "loss": loss}]
    # What one more matrix adds to the loss, a unit of cost; nothing is known yet, so that all are measured.
    rise = dict.fromkeys(compressed, float("-inf"))
    while rise and budget.cost(top | chosen) > budget.asked:
        losses: dict[tuple[str, int], float] = {}  # those with what is chosen by now
        while (best := min(rise, key=rise.get)) not in losses:
            together = chosen | dict([best])
            losses[best] = case.once(
                str(sorted(together.items())),
                lambda: case.losses.loss({pair[0]: compressed[pair] for pair in together.items()}),  # noqa: B023
            )
            saved = budget.top(best[0]) - budget.ladders[best[0]].costs[best[1]]
            rise[best] = (losses[best] - loss) / saved
        name, step = best
        chosen[name], loss = step, losses[best]
        said = {"matrix": name, "level": budget.ladders[name].level(step).text, "loss": loss}
        case.measured["losses"].append(said)
        rise = {pair: value for pair, value in rise.items() if pair[0] != name}
    return budget.levels(budget.one_by_one(chosen))
