"""DSnoT: swaps between kept and dropped weights that bring a row's expected error towards zero; no weight changes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from palimpsest.compression.ranges import Count, NotNegative, StartMask
from palimpsest.compression.registry import method
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Sparse
from palimpsest.levels import NofM, Sparsity


@method(
    "dsnot",
    family="pruning",
    needs=("input_norms", "input_means"),
    propagate=True,
    formula="e = Σ_j (w′_j - w_j)·E[x_j] → 0: revive argmax -sgn(e)·w_j·E[x_j] / Var[x_j], drop argmin |w_j|·‖X_j‖",
    cost="Wanda, and two partial sorts of the scores",
)
def dsnot(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Sparsity | NofM,
    *,
    initial: StartMask = "wanda",
    max_cycles: Count = 50,
    threshold: NotNegative = 0.1,
) -> Sparse:
    """Swap dropped for kept weights until each row's expected error is small: DSnoT (Zhang et al., arXiv:2310.08915).

    From Wanda's mask (`initial`, or magnitude's; within rows), a cycle revives the dropped weight that reduces |e| most
    for the variance of its input, and drops in its place (N:M: in its group) the kept weight with the smallest Wanda
    score among those whose loss reduces |e| too. A row stops when |e| is at most `threshold`, when a swap would turn
    the sign of e, or after `max_cycles`.

    As in the authors' code e is summed over the tokens of a calibration row (in E[x] of one token the same threshold
    would be 2048 times as lax and leave most rows alone), and a swap that overshoots ends the row (there: for N:M). So
    the sign of e never changes, the order of the swaps is known beforehand, and no loop is needed.
    """
    scores = {"wanda": weight.abs() * stats.input_norms, "magnitude": weight.abs()}
    mask = Sparse.keep_largest(weight, scores[initial], level, within="row").kept
    means, second = stats.input_means, stats.input_norms.square() / stats.tokens
    # A channel that hardly varies would win by rounding errors; one that was never active cannot help.
    variances = (second - means.square()).clamp(min=1e-6 * second)
    benefit = torch.where(second > 0, means / variances, 0)
    tokens = stats.tokens / len(stats.sample_means[1])
    pull = (weight.double() * means) * tokens  # what a weight adds to its row's expected answer
    error = -(pull * ~mask).sum(1, keepdim=True)

    towards = -error.sign() * pull
    group = level.group if isinstance(level, NofM) else weight.shape[1]
    revived, gain = _best(-error.sign() * weight * benefit, ~mask & (towards > 0), group, max_cycles)
    dropped, least = _best(-scores["wanda"], mask & (towards <= 0), group, max_cycles)
    gain = gain.masked_fill(least == -torch.inf, -torch.inf)  # nothing to drop in its place

    gain, order = gain.sort(dim=1, descending=True, stable=True)
    order, gain = order[:, :max_cycles], gain[:, :max_cycles]
    revived, dropped = revived.gather(1, order), dropped.gather(1, order)
    after = error + (pull.gather(1, revived) - pull.gather(1, dropped)).cumsum(1)
    before = torch.cat([error, after[:, :-1]], dim=1)
    wanted = (gain > -torch.inf) & (before.abs() > threshold) & (after.sign() == error.sign())
    rows, cycles = wanted.cumprod(1).nonzero(as_tuple=True)
    mask[rows, revived[rows, cycles]] = True
    mask[rows, dropped[rows, cycles]] = False
    return Sparse(weight, mask, level if isinstance(level, NofM) else None)


def _best(
    score: Float[Tensor, "out in"], allowed: Bool[Tensor, "out in"], group: int, count: int
) -> tuple[Int[Tensor, "out places"], Float[Tensor, "out places"]]:
    """Columns of the `count` highest allowed scores of each group of a row, in order, and their scores; -∞ for none."""
    rows, columns = score.shape
    score = pad(score.masked_fill(~allowed, -torch.inf).float(), (0, -columns % group), value=-torch.inf)
    values, places = score.reshape(rows, -1, group).topk(min(count, group), dim=2)
    places = places + group * torch.arange(values.shape[1])[:, None]
    return places.flatten(1).clamp(max=columns - 1), values.flatten(1)
