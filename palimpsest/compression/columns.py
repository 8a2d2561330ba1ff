"""Column by column with error feedback: the loop of GPTQ and SparseGPT (optimal brain surgeon for one layer)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def sweep(
    weight: Float[Tensor, "out in"],
    upper: Float[Tensor, "in in"],
    unit: int,
    begin: Callable[[int, int, Float[Tensor, "columns out"]], None],
    compress: Callable[[int, Float[Tensor, " out"]], Float[Tensor, " out"]],
) -> Float[Tensor, "out in"]:
    """Replace each column by `compress(j, column)`, and let the columns that are still to come make up for its error.

    upper: U of `Statistics.inverse_factor`; a column's error e_j = (w - q) / U_jj changes column k by -e_j U_jk.
    begin(start, stop, columns) is called before each `unit` of columns with their up-to-date values (columns, out).

    The corrections of later columns wait until a run of columns is done and are then made at once, on two levels
    (about 128 and 32 columns; whole units, so that `begin` never sees a stale value): the same sums, faster.
    """
    rows = weight.T.contiguous()  # row j is column j of the weight
    errors = torch.empty_like(rows)
    result = torch.empty_like(rows)
    long, short = unit * -(-128 // unit), max(unit * (32 // unit), 32)
    lengths = sorted({length for length in (long, short, unit, 1) if length <= long}, reverse=True)

    def run(start: int, stop: int, level: int) -> None:
        if level == len(lengths):
            result[start] = compress(start, rows[start])
            errors[start] = (rows[start] - result[start]) / upper[start, start]
            return
        for first in range(start, stop, lengths[level]):
            last = min(first + lengths[level], stop)
            if lengths[level] == unit:
                begin(first, last, rows[first:last])
            run(first, last, level + 1)
            rows[last:stop].addmm_(upper[first:last, last:stop].T, errors[first:last], alpha=-1)

    run(0, len(rows), 0)
    return result.T.contiguous()
