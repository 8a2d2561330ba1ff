"""Repairs of one matrix in closed form. W is the dense matrix, W′ the compressed one, E = W − W′, G = E[xxᵀ].

A correction is two factors B A beside W′; a replacement takes the place of W′. Of all corrections of a rank, the one
with the smallest E‖(E − BA)x‖² is the SVD of E S, truncated, times S⁻¹, for any S with S Sᵀ = G. Since
SVD_r(E S) S⁻¹ = U_r U_rᵀ E, with U the eigenvectors of E G Eᵀ, no factor of G has to be found or inverted, and inputs
may have any rank. The same holds for a diagonal S.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight, LowRank
from palimpsest.recovery.refit import QUANTIZED, TIES, refit, truncated

Matrix = Float[Tensor, "out in"]


class Repair(NamedTuple):
    """What is put beside a compressed matrix, and what takes its place; None for neither."""

    correction: LowRank | None = None
    replacement: CompressedWeight | None = None


@dataclass(frozen=True)
class Method:
    """A repair `(target, compressed, stats, **options) -> Repair` and the cells that it is for.

    needs: the statistics of the inputs that it looks at (compression/registry.py). mends: the kinds of compressed
    matrices that it takes; None for all.
    """

    repair: Callable[..., Repair]
    needs: tuple[str, ...] = ()
    mends: tuple[type[CompressedWeight], ...] | None = None
    wanted: str = ""  # what such a cell is called in messages


def eora(target: Matrix, compressed: CompressedWeight, stats: Statistics, *, rank: int) -> Repair:
    """The error in the eigenspace of the inputs: SVD_r(E QΛ^½) Λ^−½Qᵀ with G = QΛQᵀ (Liu et al., arXiv:2410.21271)."""
    return Repair(correction=truncated(_error(target, compressed), rank, stats))


def qera(
    target: Matrix, compressed: CompressedWeight, stats: Statistics, *, rank: int, moments: str = "full"
) -> Repair:
    """SVD_r(E G^½) G^−½; of "diagonal" moments: with diag(G) in the place of G (Zhang et al., arXiv:2410.06040).

    With "full" moments it and EoRA are the same matrix: the best on these inputs.
    """
    error = _error(target, compressed)
    if moments == "full":
        return Repair(correction=truncated(error, rank, stats))
    return Repair(correction=truncated(error, rank, stats, stats.input_norms))


def lqer(target: Matrix, compressed: CompressedWeight, stats: Statistics, *, rank: int) -> Repair:
    """SVD_r(E diag(s)) diag(s)⁻¹ with s_j = E|x_j| (L²QER, Zhang et al., arXiv:2402.02446)."""
    return Repair(correction=truncated(_error(target, compressed), rank, stats, stats.input_magnitudes))


def loftq(target: Matrix, compressed: CompressedWeight, stats: Statistics, *, rank: int, iterations: int = 5) -> Repair:
    """Alternate W′ = round(W − BA) and BA = SVD_r(W − W′), from BA = 0 (LoftQ, Li et al., arXiv:2310.08659).

    Rounding is to nearest, on the cell's own kind of grid: its format, bits, groups and input scales. The method of the
    cell decides nothing else: the integers of GPTQ are given up. No inputs are looked at.
    """
    weight = target.to(_precise(target))
    correction = torch.zeros_like(weight)
    for _ in range(iterations):
        rounded = refit(weight - correction, compressed, stats)
        found = truncated(weight - rounded.dense().to(weight), rank, stats)
        correction = found.matrix()
    return Repair(found, rounded)


def two_step_update(target: Matrix, compressed: LowRank, stats: Statistics) -> Repair:
    """Least squares for the left factor, then for the right one: min ‖T x − U V x‖² over U, then over V.

    U ← T G Vᵀ (V G Vᵀ)⁻¹, then V ← (UᵀU)⁻¹ Uᵀ T (after Wang et al., arXiv:2403.07378). T is the target and G = E[xxᵀ]:
    on the dense model's inputs T = W, so that this is min ‖W X − U V X‖; on the inputs X′ of the repaired model T is
    that of inputs.target, so that this is min ‖W X − U V X′‖ (with its ridge).
    """
    wanted, gram = target.double(), stats.damped_gram(TIES)
    seen = gram @ compressed.right.double().T
    left = wanted @ seen @ torch.linalg.pinv(compressed.right.double() @ seen, hermitian=True)
    right = torch.linalg.pinv(left.T @ left, hermitian=True) @ (left.T @ wanted)
    updated = LowRank(left, right).to(compressed.dtype).beside(bias=compressed.bias)
    return Repair(replacement=updated)


METHODS: Mapping[str, Method] = {
    "eora": Method(eora, needs=("gram",)),
    "lqer": Method(lqer, needs=("input_magnitudes",)),
    "qera": Method(qera, needs=("gram",)),
    "loftq": Method(loftq, mends=QUANTIZED, wanted="quantized"),
    "svd-llm-update": Method(two_step_update, needs=("gram",), mends=(LowRank,), wanted="low rank"),
}


def _error(target: Matrix, compressed: CompressedWeight) -> Matrix:
    precise = target.to(_precise(target))
    return precise - compressed.dense().to(precise)


def _precise(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)
