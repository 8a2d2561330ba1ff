"""Singular spectra of weights and of activations: how many directions carry them.

"Features are low rank, weights are not" (Yu & Wu 2023, arXiv:2304.01074) is a statement about both.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

DOUBLE_UP_TO = 2048  # the smaller side of a matrix whose singular values are computed in float64
POINTS = 65  # of a spectrum that is kept for a figure, evenly spread from the largest value to the smallest
ENERGIES = (0.9, 0.99)
MEASURES = ("effective_rank", *(f"energy_rank_{round(100 * share)}" for share in ENERGIES))


def singular_values(matrix: Float[Tensor, "rows columns"]) -> np.ndarray:
    """From the largest to the smallest, float64."""
    exact = torch.float64 if min(matrix.shape) <= DOUBLE_UP_TO else torch.float32
    return torch.linalg.svdvals(matrix.detach().to(exact)).double().cpu().numpy()


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of the singular values, brought to a sum of 1 (Roy & Vetterli 2007, EUSIPCO)."""
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def energy_rank(values: np.ndarray, share: float) -> int:
    """How many of the largest singular values hold that share of the sum of squares."""
    energy = np.cumsum(values**2)
    return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1


def measures(values: np.ndarray) -> dict[str, float]:
    """MEASURES by name."""
    ranks = {f"energy_rank_{round(100 * share)}": float(energy_rank(values, share)) for share in ENERGIES}
    return {"effective_rank": effective_rank(values)} | ranks


def curve(values: np.ndarray) -> Iterator[tuple[float, float]]:
    """POINTS of a spectrum: the place among the values, 0 to 1, and the value as a share of the largest."""
    places = np.linspace(0, 1, POINTS)
    yield from zip(places, np.interp(places, np.linspace(0, 1, len(values)), values / values[0]), strict=True)


class Activations:
    """The singular values of a centred (tokens, width) matrix, of which only sums of products are kept."""

    def __init__(self) -> None:
        self.tokens = 0

    def add(self, states: Float[Tensor, "tokens width"]) -> None:
        states = states.double()
        if self.tokens == 0:
            # Sums about some token near the mean lose fewer digits than sums about zero.
            self.origin = states[0].clone()
            self.total, self.products = torch.zeros_like(self.origin), states.new_zeros(2 * states.shape[1:])
        states = states - self.origin
        self.tokens += len(states)
        self.total += states.sum(0)
        self.products.addmm_(states.T, states)

    @property
    def full_rank(self) -> int:
        """What the centred matrix can have."""
        return min(self.tokens - 1, len(self.total))

    def singular_values(self) -> np.ndarray:
        """`full_rank` of them, from the largest to the smallest."""
        mean = self.total / self.tokens
        centred = self.products - self.tokens * torch.outer(mean, mean)
        squares = torch.linalg.eigvalsh(centred).flip(0)[: self.full_rank]
        return squares.clamp(min=0).sqrt().cpu().numpy()
