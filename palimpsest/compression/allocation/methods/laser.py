"""LASER: one matrix, the one that the model misses least."""

from __future__ import annotations

from palimpsest import levels as grammar
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Levels
from palimpsest.levels import Level
from palimpsest.provenance import PalimpsestError


@allocation(
    "laser",
    calibrated=True,
    measures=True,
    formula="argmin over (block, module, level) of the loss with that matrix alone compressed",
    cost="a pass of the calibration through the model for each matrix and level",
)
def laser(case: Case, *, levels: Levels = ()) -> dict[str, Level]:
    """Compress one matrix, the one that alone at that level gives the lowest loss (Sharma et al., arXiv:2312.13558).

    levels: those to choose from beside the level asked (LASER's ρ).
    """
    choices = list(dict.fromkeys([case.level, *map(grammar.parse, levels)]))
    if other := [level for level in choices if level.syntax != case.level.syntax]:
        raise PalimpsestError(f"laser: {other[0].text} is not of the same kind as {case.level.text}.")
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
