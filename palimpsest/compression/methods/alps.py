"""ALPS: the layer's pruning problem by the alternating direction method of multipliers, then least squares."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.compression.ranges import Count, Positive
from palimpsest.compression.registry import method
from palimpsest.compression.selection import smallest, smallest_of_groups
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import Sparse
from palimpsest.levels import NofM, Sparsity

EVERY = 3  # iterations between two looks at the support
GROWTH = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))  # ρ grows by this factor where more than this share has changed
SETTLED, EARLIEST = 0.0003, 30  # stop where less has changed, after so many iterations
LEAST_RHO = 1e-6


@method(
    "alps",
    family="pruning",
    needs=("gram",),
    propagate=True,
    formula="min tr((W′-W) H (W′-W)ᵀ), ‖W′‖₀ ≤ k: B = (WH - V + ρD)(H + ρI)⁻¹, D = P_k(B + V/ρ), V += ρ(B - D)",
    cost="an eigendecomposition of H (shared), at most 300 products out·in² and 100 in³, 10 for the refinement",
)
def alps(
    weight: Float[Tensor, "out in"],
    stats: Statistics,
    level: Sparsity | NofM,
    *,
    rho: Positive = 0.1,
    max_iterations: Count = 300,
    refinements: Count = 10,
    damping: Positive = 0.01,
) -> Sparse:
    """Choose mask and weights together by ADMM, then refine by conjugate gradients (Meng et al., arXiv:2406.07831).

    H = E[xxᵀ] with a ridge of `damping` mean diagonals, brought to a unit diagonal. The penalty `rho` grows by how much
    of the support has changed in three iterations, and starts again five times smaller where it was so large that the
    support did not move. `refinements` steps of conjugate gradients (preconditioned by the unit diagonal) then lower
    the error on the support that was found. The sparsity is the layer's.
    """
    norms, hessian, values, vectors, record = stats.shared(("alps", damping), lambda: _normalized(stats, damping))
    stats.record |= record
    scale, hessian, dense = norms.to(weight), hessian.to(weight), weight * norms.to(weight)
    target = dense @ hessian

    start = dense.masked_fill(_dropped(dense, level), 0)
    kept = start != 0
    moved = False
    estimate, sparse, dual = dense, start, torch.zeros_like(dense)
    for iteration in range(1, max_iterations + 1):
        if iteration % EVERY == 1:
            inverse = ((vectors / (values + rho)) @ vectors.T).to(weight)
        estimate = (target - dual + rho * sparse) @ inverse
        sparse = estimate + dual / rho
        sparse = sparse.masked_fill(_dropped(sparse, level), 0)
        dual = dual + rho * (estimate - sparse)
        if iteration % EVERY:
            continue
        change = ((sparse != 0) ^ kept).sum().item() / max(int(kept.sum()), 1)
        kept = sparse != 0
        moved = moved or change > GROWTH[1][0]
        if not moved and rho > LEAST_RHO:
            rho, sparse, dual, kept = rho / 5, start, torch.zeros_like(dense), start != 0
        elif change == 0 or (change < SETTLED and iteration > EARLIEST):
            break
        else:
            rho *= next(factor for least, factor in GROWTH if change > least)

    dropped = _dropped(estimate, level)
    refined = _least_squares(hessian, target, estimate.masked_fill(dropped, 0), ~dropped, refinements)
    result = torch.where(dropped, 0, refined / scale)
    return Sparse(result if dropped.any() else weight, ~dropped, level if isinstance(level, NofM) else None)


def _normalized(stats: Statistics, damping: float) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, object]]:
    """√ of the damped Gram matrix's diagonal; it with unit diagonal, its eigenvalues and vectors; what to record."""
    gram = stats.damped_gram(damping)
    norms = gram.diagonal().sqrt()
    hessian = gram / norms / norms[:, None]
    return norms, hessian, *torch.linalg.eigh(hessian), dict(stats.record)


def _dropped(weight: Float[Tensor, "out in"], level: Sparsity | NofM) -> Bool[Tensor, "out in"]:
    if isinstance(level, NofM):
        return smallest_of_groups(weight.abs(), level)
    return smallest(weight.abs().flatten(), level.fraction).view_as(weight)


def _least_squares(
    hessian: Float[Tensor, "in in"],
    target: Float[Tensor, "out in"],
    start: Float[Tensor, "out in"],
    kept: Bool[Tensor, "out in"],
    steps: int,
) -> Float[Tensor, "out in"]:
    """`steps` of conjugate gradients for B H = target within the support `kept`, all rows at once."""
    solution, residual = start, (target - start @ hessian) * kept
    direction, energy = residual, residual.square().sum(1, keepdim=True)
    for _ in range(steps):
        product = (direction @ hessian) * kept
        curvature = (direction * product).sum(1, keepdim=True)
        step = torch.where(curvature > 0, energy / curvature, 0)
        solution = solution + step * direction
        residual = residual - step * product
        before, energy = energy, residual.square().sum(1, keepdim=True)
        direction = residual + torch.where(before > 0, energy / before, 0) * direction
    return solution
