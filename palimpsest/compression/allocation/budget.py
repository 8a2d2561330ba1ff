"""What levels cost, and levels of single matrices that add up to what was asked. Plain Python, no torch.

Each matrix has a ladder: the levels that it can have, from the cheapest to the dearest, each with its cost, a whole
number. By the kind of the level that is asked of the whole model:

    sparsity     one weight a row more or less                    cost: kept weights        at the top: dense
    n:m          N of 1 to M, M fixed                             cost: kept weights        at the top: dense
    bits         2 to 8, the group fixed                          cost: bits                at the top: 8 bits
    kept share   ranks                                            cost: parameters          at the top: dense
    rank share   ranks                                            cost: parameters          at the top: dense
    joint        the pruning part's ladder, the bits fixed        cost: kept weights        at the top: bits alone

One weight a row is what all pruning methods can do exactly, whether they compare within rows or within the matrix. A
number format has no ladder.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from palimpsest.levels import BITS, Bits, Joint, KeptShare, Level, NofM, RankShare, Sparsity, parse
from palimpsest.provenance import PalimpsestError

Steps = dict[str, int]  # matrix -> its place on its ladder
HALVINGS = 200
NEXT = Fraction(1001, 1000)  # how much milder the next level is that is tried


@dataclass(frozen=True)
class Matrix:
    """A matrix that is compressed: `module` is its name within block number `block`."""

    name: str
    block: int
    module: str
    rows: int
    columns: int

    @property
    def weights(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True)
class Ladder:
    """`costs` ascend; `level` gives the level at a step, None for dense; `asked` is what the asked level costs."""

    asked: Fraction
    costs: Sequence[int]
    level: Callable[[int], Level | None]


class Budget:
    """Levels of `matrices` that together cost what `level` does, and never more."""

    def __init__(self, matrices: Iterable[Matrix], level: Level) -> None:
        if level.syntax not in LADDERS:
            raise PalimpsestError(
                f"{level.text} has no levels above and below it that could be shared out among matrices. Use the "
                "allocation uniform, or only or laser with budget: chosen."
            )
        self.level = level
        self.matrices = {matrix.name: matrix for matrix in matrices}
        self.ladders = {name: LADDERS[level.syntax](matrix, level) for name, matrix in self.matrices.items()}
        self.weights = sum(matrix.weights for matrix in self.matrices.values())
        self.asked = _asked(self.matrices.values(), level)
        least, most = self.cost(self.lowest()), self.cost(self.highest())
        if least > self.asked:
            raise PalimpsestError(
                f"{level.text} cannot be shared out: the hardest level that every matrix can have costs "
                f"{self.mean(least):.4g} a weight, and {self.mean(self.asked):.4g} is asked. {self.milder(least)}"
            )
        if isinstance(level, RankShare) and level.share < 1 and self.asked >= most:
            raise PalimpsestError(
                f"{level.text} saves no parameters: factors of these ranks are as large as the matrices. Ask for less."
            )

    def lowest(self) -> Steps:
        """Every matrix at its hardest level."""
        return dict.fromkeys(self.matrices, 0)

    def highest(self) -> Steps:
        """Every matrix at its mildest level."""
        return {name: len(ladder.costs) - 1 for name, ladder in self.ladders.items()}

    def cost(self, steps: Mapping[str, int]) -> int:
        return sum(self.ladders[name].costs[step] for name, step in steps.items())

    def mean(self, cost: float) -> float:
        """A cost a weight: the share kept, or the bits."""
        return cost / self.weights

    def top(self, name: str) -> int:
        """The cost of a matrix at its mildest level."""
        return self.ladders[name].costs[-1]

    def step(self, name: str, cost: float) -> int:
        """The mildest level of a matrix that costs no more than `cost`; the hardest one where all do."""
        return max(0, bisect_right(self.ladders[name].costs, cost) - 1)

    def levels(self, steps: Mapping[str, int]) -> dict[str, Level]:
        """The level of each matrix; those that stay dense are not among them."""
        found = {name: self.ladders[name].level(step) for name, step in steps.items()}
        return {name: level for name, level in found.items() if level is not None}

    def from_shares(self, wanted: Mapping[str, float], lowest: float = 0.0) -> Steps:
        """The levels nearest to `wanted` that cost what is asked.

        wanted: of what a matrix costs at the top of its ladder, the share that it is to cost; infinity for the top. All
        are shifted by the same amount, within [`lowest`, 1], until they cost what is asked; then each goes down to a
        level of its ladder, and what is left over goes to those that lost most by it.
        """
        least = {name: max(lowest, self.ladders[name].costs[0] / self.top(name)) for name in wanted}

        def shifted(by: float) -> dict[str, float]:
            return {name: self.top(name) * min(1.0, max(least[name], share + by)) for name, share in wanted.items()}

        finite = [share for share in wanted.values() if math.isfinite(share)]
        low, high = (-max(finite), 1 - min(finite)) if finite else (0.0, 0.0)
        if (needed := sum(shifted(low).values())) > self.asked * (1 + 1e-9):
            raise PalimpsestError(
                f"{self.level.text} cannot be shared out so: with the least that is allowed the matrices cost "
                f"{self.mean(needed):.4g} a weight, and {self.mean(self.asked):.4g} is asked. {self.milder(needed)}"
            )
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if sum(shifted(middle).values()) <= self.asked else (low, middle)
        costs = shifted(low)
        steps = {name: self.step(name, cost) for name, cost in costs.items()}

        def lost(name: str, step: int) -> float:
            below, above = self.ladders[name].costs[step : step + 2]
            return (costs[name] - below) / (above - below) if above > below else math.inf

        return self.fill(steps, lost)

    def one_by_one(self, hard: Mapping[str, int]) -> Steps:
        """Matrices go down to their steps in `hard`, in its order, until all together cost what is asked.

        The others stay at their mildest level. The last that goes down goes no further than it must.
        """
        steps, turn = self.highest(), {}
        for place, (name, step) in enumerate(hard.items()):
            if self.cost(steps) <= self.asked:
                break
            steps[name], turn[name] = step, place
        if (least := self.cost(steps)) > self.asked:
            raise PalimpsestError(
                f"{self.level.text} cannot be met so: with {len(turn)} of {len(self.matrices)} matrices at the hard "
                f"level they cost {self.mean(least):.4g} a weight, and {self.mean(self.asked):.4g} is asked. "
                f"{self.milder(least)}"
            )
        return self.fill(steps, lambda name, _: turn.get(name, -1))

    def fill(self, steps: Mapping[str, int], priority: Callable[[str, int], float]) -> Steps:
        """Raise matrices step by step, those with the largest `priority(name, step)` first, until no step fits."""
        steps = dict(steps)
        left = self.asked - self.cost(steps)

        def rise(name: str) -> int:
            costs, step = self.ladders[name].costs, steps[name]
            return costs[step + 1] - costs[step]

        def fitting() -> list[str]:
            return [
                name for name, step in steps.items() if step + 1 < len(self.ladders[name].costs) and rise(name) <= left
            ]

        while names := fitting():
            name = max(names, key=lambda name: priority(name, steps[name]))
            left -= rise(name)
            steps[name] += 1
        return steps

    def milder(self, cost: float) -> str:
        """What to ask for instead where the least that can be reached is `cost`."""
        times = Fraction(math.ceil(cost - 1e-6)) / sum(ladder.asked for ladder in self.ladders.values())
        text = _times(self.level, times)
        # A matrix of few ranks asks for whole ones, at a milder level too.
        while text and _asked(self.matrices.values(), parse(text)) < cost - 1e-6:
            times *= NEXT
            text = _times(self.level, times)
        return f"The lowest level that can be met so is {text}." if text else "Ask for a milder level."


def _asked(matrices: Iterable[Matrix], level: Level) -> int:
    """What the matrices cost together if each has the level."""
    return math.floor(sum(LADDERS[level.syntax](matrix, level).asked for matrix in matrices))


def _times(level: Level, times: Fraction) -> str | None:
    """The level that costs `times` what `level` does, rounded up to four decimals, a whole N or a bit."""
    if isinstance(level, Joint):
        pruning = _times(level.pruning, times)
        return pruning and Joint(parse(pruning), level.quantization).text
    if isinstance(level, NofM):
        keep = math.ceil(level.keep * times)
        return NofM(keep, level.group).text if keep < level.group else None
    if isinstance(level, Bits):
        bits = math.ceil(level.bits * times)
        return Bits(bits, level.group).text if bits in BITS else None
    kept = 1 - Fraction(str(level.fraction)) if isinstance(level, Sparsity) else Fraction(str(level.share))
    share = math.ceil(kept * times * 10**4)
    if share > 10**4:
        return None
    return Sparsity((10**4 - share) / 10**4).text if isinstance(level, Sparsity) else type(level)(share / 10**4).text


def shortest(low: Fraction, high: Fraction) -> float:
    """The number of fewest decimals that is at least `low` and less than `high`."""
    for digits in range(1, 18):
        above = math.ceil(low * 10**digits)
        if Fraction(above, 10**digits) < high:
            return above / 10**digits
    raise PalimpsestError(f"No decimal number of 17 digits lies between {float(low)!r} and {float(high)!r}.")


def _sparsity(matrix: Matrix, level: Sparsity) -> Ladder:
    rows, columns = matrix.rows, matrix.columns

    def at(step: int) -> Sparsity | None:
        share = Fraction(columns - 1 - step, columns)
        # Methods that compare within the matrix drop floor(share · rows · columns) weights: the same number.
        return Sparsity(shortest(share, share + Fraction(1, matrix.weights))) if share else None

    asked = (1 - Fraction(str(level.fraction))) * matrix.weights
    return Ladder(asked, range(rows, matrix.weights + 1, rows), at)


def _n_of_m(matrix: Matrix, level: NofM) -> Ladder:
    groups, rest = divmod(matrix.columns, level.group)
    kept = [groups * n + rest - rest * (level.group - n) // level.group for n in range(1, level.group + 1)]
    costs = [matrix.rows * count for count in kept]
    return Ladder(
        Fraction(costs[level.keep - 1]),  # with a last group that is not whole, a little more than N of M
        costs,
        lambda step: NofM(step + 1, level.group) if step + 1 < level.group else None,
    )


def _bits(matrix: Matrix, level: Bits) -> Ladder:
    costs = [bits * matrix.weights for bits in BITS]
    return Ladder(Fraction(level.bits * matrix.weights), costs, lambda step: Bits(BITS[step], level.group))


def _ranks(matrix: Matrix, level: KeptShare | RankShare) -> Ladder:
    of_a_rank = matrix.rows + matrix.columns
    smaller = (matrix.weights - 1) // of_a_rank  # ranks whose factors are smaller than the matrix
    kind = type(level)
    whole = Fraction(matrix.weights, of_a_rank) if kind is KeptShare else Fraction(min(matrix.rows, matrix.columns))

    def at(step: int) -> Level | None:
        rank = step + 1
        return kind(shortest(rank / whole, min(Fraction(1), (rank + 1) / whole))) if rank <= smaller else None

    asked = min(Fraction(str(level.share)) * whole * of_a_rank, Fraction(matrix.weights))
    return Ladder(asked, [*range(of_a_rank, smaller * of_a_rank + 1, of_a_rank), matrix.weights], at)


def _joint(matrix: Matrix, level: Joint) -> Ladder:
    pruning = LADDERS[level.pruning.syntax](matrix, level.pruning)
    return Ladder(
        pruning.asked, pruning.costs, lambda step: Joint(pruning.level(step) or Sparsity(0.0), level.quantization)
    )


LADDERS: dict[str, Callable[[Matrix, Level], Ladder]] = {
    "sparsity": _sparsity,
    "n:m": _n_of_m,
    "bits": _bits,
    "kept share": _ranks,
    "rank share": _ranks,
    "joint": _joint,
}
