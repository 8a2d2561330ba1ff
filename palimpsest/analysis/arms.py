"""What each recovery of a study can say on what was only displaced: its arm, and the pool that its text speaks of.

Arms are recognized from the settings of a recovery. A composed one has that of what it is made of, the first in this
list if its parts have several, and looks at the dense weights if one of them does:

    text             trained on text about the people of a pool, never looking at the dense weights: what it returns
                     of other people's facts counts as displaced
    values masked    the same text with the loss left out at the values (training.mask): no fact is told
    other text       text without known facts, or a file
    untrained        written as it starts (training.steps: 0)
    consults dense   looks at the dense weights (distill, EoRA, LoftQ, a merge by inputs, …): what it returns need not
                     have been in the compressed ones, and is reported apart

Each of them may stand on the dense model too, where there is nothing to return: what changes there is the recovery's
own doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest.recovery import registry
from palimpsest.settings import SWAPPED, SWAPPED_TEXT

if TYPE_CHECKING:
    from palimpsest.grid import Grid

TEXT, MASKED, OTHER, UNTRAINED, CONSULTS = "text", "values masked", "other text", "untrained", "consults dense"
ARMS = (TEXT, MASKED, OTHER, UNTRAINED, CONSULTS)


@dataclass(frozen=True)
class Arm:
    """A recovery's arm, the pools that its text does and does not speak of, its twin whose pools are swapped, and what
    it is made of (by method `method`)."""

    name: str = TEXT
    seen: str = "R"
    unseen: str = "U"
    twin: str | None = None
    method: str = ""
    of: tuple[str, ...] = ()

    @property
    def is_swapped(self) -> bool:
        return self.seen == "U"


def arms(grid: Grid) -> dict[str, Arm]:
    """Recovery -> arm, of all recoveries of a study."""
    return {name: _arm(grid, name) for name in grid.recoveries}


def _arm(grid: Grid, name: str) -> Arm:
    entry = grid.recoveries[name]
    # What is composed is trained as its parts are.
    parts = [grid.recoveries[part] for part in entry.of] or [entry]
    swapped = all(part.training is not None and part.training.text == SWAPPED_TEXT for part in parts)
    return Arm(
        name=_name(grid, name),
        seen="U" if swapped else "R",
        unseen="R" if swapped else "U",
        twin=f"{name}{SWAPPED}" if f"{name}{SWAPPED}" in grid.recoveries else None,
        method=entry.method,
        of=tuple(entry.of),
    )


def _name(grid: Grid, name: str) -> str:
    entry = grid.recoveries[name]
    declaration = registry.declared()[entry.method]
    if declaration.consults_dense:
        return CONSULTS
    if entry.of:
        if entry.calibration is not None:  # the inputs are those of the layers of the dense model
            return CONSULTS
        found = {_name(grid, part) for part in entry.of}
        return CONSULTS if CONSULTS in found else min(found, key=ARMS.index)
    training = entry.training
    if training is None or training.steps == 0:
        return UNTRAINED
    if training.mask:
        return MASKED
    return TEXT if training.text in ("recovery_R", SWAPPED_TEXT) else OTHER
