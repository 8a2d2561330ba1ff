"""Which weights to drop: exactly as many as asked, ties in the order of the columns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.levels import NofM


def share_of(count: int, fraction: float) -> int:
    """floor(fraction · count) in exact arithmetic: in floats 0.29 · 100 is 28.999999999999996."""
    return int(Fraction(str(fraction)) * count)


def smallest(score: Float[Tensor, "... n"], amount: float | int) -> Bool[Tensor, "... n"]:
    """True at the lowest entries along the last dimension: a share of them (a float), or so many (an int)."""
    count = amount if isinstance(amount, int) else share_of(score.shape[-1], amount)
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    # NumPy's partition is vectorized: 14 times as fast as torch.kthvalue, which is several times as fast as a sort.
    threshold = torch.from_numpy(np.partition(score.numpy(), count - 1, axis=-1)[..., count - 1, None])
    lowest = score <= threshold
    if bool((lowest.sum(-1) == count).all()):
        return lowest
    # What a partition leaves open is which of equal scores to take.
    below, ties = score < threshold, score == threshold
    missing = count - below.sum(-1, keepdim=True)
    return below | ties & (ties.cumsum(-1) <= missing)


def smallest_of_groups(score: Float[Tensor, "rows columns"], level: NofM) -> Bool[Tensor, "rows columns"]:
    """True at the M-N lowest of every M neighbours of a row; a last group of r < M columns loses floor(r (M-N) / M)."""
    (rows, columns), dropped = score.shape, level.group - level.keep
    rest = columns % level.group
    whole = columns - rest
    lowest = smallest(score[:, :whole].reshape(rows, -1, level.group), dropped).reshape(rows, whole)
    if rest:
        lowest = torch.cat([lowest, smallest(score[:, whole:], rest * dropped // level.group)], dim=1)
    return lowest
