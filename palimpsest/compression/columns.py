"""Column by column with error feedback: the loop of GPTQ and SparseGPT (optimal brain surgeon for one layer)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

Begin = Callable[[int, int, Float[Tensor, "columns out"]], None]
Compress = Callable[[int, Float[Tensor, " out"], Float[Tensor, " out"]], None]


class Swept(NamedTuple):
    """What a sweep leaves: the compressed matrix, and for each column Σ e² of its errors and Σ (w - q)² of its weights.

    w is the weight that was given, while e = w' - q is what was left of the corrected w' when the column's turn came.
    """

    matrix: Float[Tensor, "out in"]
    errors: Float[Tensor, " in"]
    changes: Float[Tensor, " in"]


def sweep(
    weight: Float[Tensor, "out in"],
    upper: Float[Tensor, "in in"],
    begins: Sequence[tuple[int, Begin]],
    compress: Compress,
) -> Swept:
    """Compress each column, and let the columns that are still to come make up for its error.

    upper: U of `Statistics.inverse_factor`, with a unit diagonal: an error e_j = w - q of column j changes column k by
        -e_j U_jk.
    begins: pairs (unit, begin), the largest unit first and each a multiple of the next: begin(start, stop, columns) is
        called before each run of `unit` columns with their up-to-date values (columns, out).
    compress(j, column, error) writes e_j to `error` and leaves q in `column`.

    The corrections of later columns wait until a run of columns is done and are then made at once, on two levels
    (about 128 and 16 columns); within the shortest run each column asks for its own when its turn comes: the same sums,
    faster.
    """
    rows = weight.T.contiguous()  # row j is column j of the weight; what is compressed takes its place
    lengths = run_lengths([unit for unit, _ in begins])
    errors = rows.new_empty(min(lengths[0], len(rows)), rows.shape[1])  # of the columns of one run
    squares, changes = rows.new_empty(len(rows)), rows.new_empty(len(rows))

    for first, last, stop, length, over in _runs(0, len(rows), lengths):
        made = first % lengths[0]
        if over and length == lengths[0]:
            squares[first:last] = errors[: last - first].square().sum(1)
            changes[first:last] = (weight[:, first:last].T - rows[first:last]).square_().sum(1)
        if over:
            rows[last:stop].addmm_(upper[first:last, last:stop].T, errors[made : made + last - first], alpha=-1)
            continue
        for unit, begin in begins:
            if unit == length:
                begin(first, last, rows[first:last])
        if length > lengths[-1]:
            continue
        columns, apart = rows[first:last].unbind(), errors[made : made + last - first].unbind()
        own = upper[first:last, first:last].T
        for j, (column, error) in enumerate(zip(columns, apart, strict=True)):
            if j:
                column.addmv_(errors[made : made + j].T, own[j, :j], alpha=-1)
            compress(first + j, column, error)
    return Swept(rows.T, squares, changes)


def _runs(start: int, stop: int, lengths: Sequence[int]) -> Iterator[tuple[int, int, int, int, bool]]:
    """Nested runs of columns: (first, last, end of the run around it, length, whether it is over), before and after."""
    length, *shorter = lengths
    for first in range(start, stop, length):
        last = min(first + length, stop)
        yield first, last, stop, length, False
        if shorter:
            yield from _runs(first, last, shorter)
        yield first, last, stop, length, True


def run_lengths(units: Sequence[int]) -> list[int]:
    """The lengths of the nested runs of columns, longest first: each unit, about 128 and about 16.

    A run that is longer than a unit is whole units, so that each unit begins where runs begin.
    """

    def about(length: int) -> int:
        unit = max((unit for unit in units if unit <= length), default=1)
        return length - length % unit

    return sorted({*units, about(128), about(16)}, reverse=True)
