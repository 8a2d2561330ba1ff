"""Bolaco's search: one share for each kind of module, by Bayesian optimization on the whole model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.modules import ROLES, role_of
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Count, Divergence, Share
from palimpsest.levels import Level
from palimpsest.provenance import digest_json

RANDOM = 5  # trials before the first that is chosen
CANDIDATES, NEAR, WIDTH = 2048, 512, 0.05  # random candidates; those near the best so far, and how near
HALVINGS = 60


@allocation(
    "bayesian",
    calibrated=True,
    budget=True,
    measures=True,
    formula="min over (r_qk, r_o, r_gate, r_up, r_down) of KL(dense ‖ compressed); v dense; Σ cost = asked",
    cost="`trials` passes of the calibration through the model; the statistics of all its layers in memory",
)
def bayesian(
    case: Case, *, trials: Count = 50, divergence: Divergence = "kl", lowest: Share = 0.2, seed: int = 0
) -> dict[str, Level]:
    """Search one share for each kind of module by a Gaussian process (Bolaco, Ji et al., arXiv:2405.10616).

    Queries and keys, outputs, gates, ups and downs each keep one share in [`lowest`, 1], values stay dense; the
    objective is how far the next token's distribution ("kl") or the logits ("squared") are from those of the dense
    model. The first trial gives all groups the same share, so that the result is no worse than that on the calibration;
    four are random; the others have the largest expected improvement of the objective's logarithm. The published search
    allows any sum under the budget; here every trial is shifted to cost what is asked.
    """
    layers = list(case.layers(case.measuring_needs))
    roles = {matrix.name: role_of(matrix.module) for matrix in case.matrices}
    groups = sorted({role for role in roles.values() if role != "v"}, key=list(ROLES).index)
    tops = {group: sum(case.budget.top(name) for name, role in roles.items() if role == group) for group in groups}
    values = sum(case.budget.top(name) for name, role in roles.items() if role == "v")
    weights, asked = np.array([tops[group] for group in groups], float), case.budget.asked - values

    def levels(shares: Float[np.ndarray, " groups"]) -> dict[str, Level]:
        wanted = dict(zip(groups, shares.tolist(), strict=True)) | {"v": math.inf}
        return case.budget.levels(case.budget.from_shares({name: wanted[role] for name, role in roles.items()}, lowest))

    def objective(shares: Float[np.ndarray, " groups"]) -> float:
        chosen = levels(shares)

        def measure() -> float:
            found = {
                matrix.name: case.compressed(matrix, weight, statistics, chosen[matrix.name])
                for matrix, weight, statistics in layers
                if matrix.name in chosen
            }
            return case.losses.divergence(found, divergence)

        return case.once(digest_json({name: level.text for name, level in chosen.items()}), measure)

    tried, found = minimize(objective, lambda points: projected(points, weights, asked, lowest), groups, trials, seed)
    case.measured["trials"] = [
        {"shares": dict(zip(groups, shares.tolist(), strict=True)), "divergence": value}
        for shares, value in zip(tried, found, strict=True)
    ]
    return levels(tried[int(np.argmin(found))])


def minimize(
    objective: Callable[[Float[np.ndarray, " groups"]], float],
    project: Callable[[Float[np.ndarray, "points groups"]], Float[np.ndarray, "points groups"]],
    groups: list[str],
    trials: int,
    seed: int,
) -> tuple[list[Float[np.ndarray, " groups"]], list[float]]:
    """The points that were tried and their values: equal shares, some random ones, then by expected improvement."""
    draws = np.random.default_rng(seed)
    tried = list(project(np.vstack([np.ones((1, len(groups))), draws.random((RANDOM - 1, len(groups)))])))[:trials]
    found = [objective(point) for point in tried]
    while len(tried) < trials:
        near = tried[int(np.argmin(found))] + WIDTH * draws.standard_normal((NEAR, len(groups)))
        candidates = project(np.vstack([draws.random((CANDIDATES, len(groups))), near]))
        gains = expected_improvement(np.array(tried), np.log(np.maximum(found, 1e-12)), candidates, seed)
        tried.append(candidates[int(np.argmax(gains))])
        found.append(objective(tried[-1]))
    return tried, found


def projected(
    points: Float[np.ndarray, "points groups"], weights: Float[np.ndarray, " groups"], asked: float, lowest: float
) -> Float[np.ndarray, "points groups"]:
    """Each point shifted, within [lowest, 1], until Σ weight · share is what is asked."""
    low, high = np.full((len(points), 1), lowest - points.max()), np.full((len(points), 1), 1 - points.min())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = (np.clip(points + middle, lowest, 1) @ weights <= asked)[:, None]
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.clip(points + low, lowest, 1)


def expected_improvement(
    tried: Float[np.ndarray, "trials groups"],
    found: Float[np.ndarray, " trials"],
    candidates: Float[np.ndarray, "points groups"],
    seed: int,
) -> Float[np.ndarray, " points"]:
    """E[max(best - f, 0)] at each candidate, f the Gaussian process (Matérn 5/2) through what was found."""
    from scipy.stats import norm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0) * Matern(np.ones(tried.shape[1]), nu=2.5) + WhiteKernel(1e-4)
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound: that group does not matter
        process.fit(tried, found)
    mean, deviation = process.predict(candidates, return_std=True)
    deviation = np.maximum(deviation, 1e-12)
    z = (found.min() - mean) / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))
