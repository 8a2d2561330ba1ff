"""OWL: blocks with more outliers keep more."""

from __future__ import annotations

from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Positive, Share
from palimpsest.levels import Level


@allocation(
    "owl",
    calibrated=True,
    budget=True,
    formula="D_b = share of |w|·‖x‖ > M · mean in block b; kept_b = 2λ (D_b - min D) / (max D - min D) + c",
    cost="one pass of the calibration through the dense blocks",
)
def owl(case: Case, *, outlier: Positive = 5.0, spread: Share = 0.08) -> dict[str, Level]:
    """Keep more in blocks where more weights are outliers (Yin et al., arXiv:2310.05175).

    A weight is one if its Wanda score is more than `outlier` (M) times the mean score of its block. The shares that
    blocks keep differ by at most 2 `spread` (λ), and their mean is what is asked (c). As in the authors' code all
    matrices of a block keep the same share. For bits and ranks, which the paper has not, shares are of the dearest
    level: of 8 bits, of the dense matrix.
    """
    outliers = {
        number: outlier_share(
            [weight.float().abs() * statistics.input_norms for _, weight, statistics in layers], outlier
        )
        for number, layers in groupby(case.layers({"input_norms"}), key=lambda layer: layer[0].block)
    }
    least, most = min(outliers.values()), max(outliers.values())
    kept = {
        number: 2 * spread * (share - least) / (most - least) if most > least else 0.0
        for number, share in outliers.items()
    }
    case.measured["outliers"] = {str(number): share for number, share in outliers.items()}
    return case.budget.levels(case.budget.from_shares({matrix.name: kept[matrix.block] for matrix in case.matrices}))


def outlier_share(scores: list[Float[Tensor, "out in"]], times: float) -> float:
    """The share of the entries, of all matrices together, that are more than `times` their mean."""
    count = sum(score.numel() for score in scores)
    mean = sum(score.sum(dtype=torch.float64).item() for score in scores) / count
    return sum(int((score > times * mean).sum()) for score in scores) / count
