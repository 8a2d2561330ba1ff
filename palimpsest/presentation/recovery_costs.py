"""Adapters of weights against prompts: parameters, accuracy and time of every such pair of recoveries of a cell."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest.grid import Cell
from palimpsest.measurement.rounds import MERGED, PHASES, PLAIN, ratios, spread
from palimpsest.presentation import quantities
from palimpsest.presentation.data import CELL, Number, Tables

# As accurate is what is shown to lose less than this share of the questions, and less than half of the other's gain.
EQUAL = 0.05
NOTHING = Number(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True)
class Pair:
    """An adapter of weights and a prompt on one cell."""

    cell: Cell
    weights: str
    prompt: str
    parameters: tuple[float, float]  # extra ones, of each
    difference: Number  # the prompt's share of right answers minus the adapter's
    gain: Number  # the adapter's minus the cell's

    @property
    def fewer(self) -> float:
        """How many times as many parameters the adapter has."""
        return self.parameters[0] / self.parameters[1]

    @property
    def helps(self) -> bool:
        """Whether the adapter is shown to be better than the cell alone: else there is nothing to match."""
        return self.gain.low > 0

    @property
    def as_accurate(self) -> bool:
        """Whether the prompt is shown to lose less than five points against an adapter that helps, and less than half
        of what that one gains."""
        return self.helps and self.difference.low > -min(EQUAL, self.gain.value / 2)


def pairs(tables: Tables) -> list[Pair]:
    """Every pair on a compressed cell, adapters with more parameters first."""
    found = []
    for cell, recoveries in tables.recoveries.items():
        if cell.is_dense:
            continue
        extra = {name: tables.extra_parameters(cell, name) for name in recoveries}
        beside = [name for name in recoveries if _is_timed_merged(tables, cell, name)]
        prompts = [name for name in recoveries if name not in beside and extra[name]]
        found += [
            Pair(
                cell,
                one,
                other,
                (extra[one], extra[other]),
                difference(tables, cell, other, one),
                difference(tables, cell, one, "none"),
            )
            for one in sorted(beside, key=lambda name: -extra[name])
            for other in sorted(prompts, key=extra.get)
        ]
    return found


def difference(tables: Tables, cell: Cell, one: str, other: str) -> Number:
    """The first accuracy of one recovery of a cell minus that of another, on the same questions."""
    task = next(iter(quantities.accuracies(tables))).task
    rows = tables.metrics
    rows = rows[(rows["metric"] == "minus_recovery") & (rows["task"] == task)]
    rows = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
    for (first, second), sign in (((one, other), 1), ((other, one), -1)):
        for row in rows[(rows["recovery"] == first) & (rows["subset"] == second)].itertuples():
            ends = sorted((sign * row.low, sign * row.high))
            return Number(sign * row.value, *ends, row.n)
    return NOTHING


def slower(tables: Tables, pair: Pair, phase: str, context: int, way: str = PLAIN) -> Number:
    """Time of the adapter over that of the prompt, round by round: median, smallest and largest."""
    times = [
        tables.rounds.of(_row(pair.cell, name), how, context, phase)
        for name, how in ((pair.weights, way), (pair.prompt, PLAIN))
    ]
    return NOTHING if None in times else Number(**spread(ratios(*times)))


def longest(tables: Tables, cell: Cell) -> int:
    """The longest context that times of the cell's model were measured at."""
    return tables.contexts(cell.model)[-1]


def _is_timed_merged(tables: Tables, cell: Cell, recovery: str) -> bool:
    phase, context = PHASES[0], longest(tables, cell)
    return tables.rounds.of(_row(cell, recovery), MERGED, context, phase) is not None


def _row(cell: Cell, recovery: str) -> dict[str, object]:
    return {part: getattr(cell, part) for part in CELL} | {"recovery": recovery}
