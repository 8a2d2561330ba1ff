"""Synthetic layers with the features that make compression hard, on which the methods' published code was run.

Inputs lie near a subspace whose directions have power-law variances; six channels are outliers; neighbouring tokens
are correlated and differ in size. Weights have rows of different sizes, a low-rank part, and a heavy tail. The draws
come in a fixed order, so that the numbers in reference_layer_errors.csv belong to exactly these tensors.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Generator, Tensor, randn

OUTLIERS = torch.tensor([20.0, 12.0, 10.0, 8.0, 6.0, 5.0])
RUN = 32  # tokens that hang together


def c256() -> dict[str, Tensor]:
    """W (256, 256), calibration inputs X (4096, 256) and held-out inputs Xt (2048, 256)."""
    return layer(width=256, tokens=4096, seed=1)


def c1024() -> dict[str, Tensor]:
    """W (1024, 1024), calibration inputs X (8192, 1024) and held-out inputs Xt (2048, 1024)."""
    return layer(width=1024, tokens=8192, seed=2)


def layer(width: int, tokens: int, seed: int) -> dict[str, Tensor]:
    """A square layer, its calibration inputs and 2048 held-out ones."""
    draws = Generator().manual_seed(seed)
    subspace, mean, channels = stream(width, seed)
    x, held_out = (inputs(count, subspace, mean, channels, draws) for count in (tokens, 2048))
    return {"W": weights(width, channels, draws), "X": x, "Xt": held_out}


def stream(width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the inputs come from: directions (width, rank), a mean and channel sizes (width,)."""
    draws = Generator().manual_seed(seed)
    rank = max(16, int(0.75 * width))
    decay = torch.arange(1, rank + 1).float() ** -0.75
    subspace = torch.linalg.qr(randn(width, rank, generator=draws))[0] * decay * sqrt(width) / decay.norm()
    channels = torch.exp(0.5 * randn(width, generator=draws))
    channels[torch.randperm(width, generator=draws)[: len(OUTLIERS)]] *= OUTLIERS
    return subspace, 0.3 * randn(width, generator=draws), channels


def inputs(tokens: int, subspace: Tensor, mean: Tensor, channels: Tensor, draws: Generator) -> Tensor:
    """Tokens (tokens, width): normalized to unit mean square, then scaled by channel."""
    width, rank = subspace.shape
    latent = randn(tokens, rank, generator=draws)
    latent = (latent * torch.exp(0.3 * randn(tokens, 1, generator=draws))).view(-1, RUN, rank)
    for t in range(1, RUN):
        latent[:, t] = 0.5 * latent[:, t - 1] + sqrt(0.75) * latent[:, t]
    x = latent.reshape(tokens, rank) @ subspace.T + 0.15 * randn(tokens, width, generator=draws) + mean
    return x / x.pow(2).mean(1, keepdim=True).sqrt() * channels


def weights(width: int, channels: Tensor, draws: Generator) -> Tensor:
    """A matrix (width, width) with standard deviation 0.02."""
    w = randn(width, width, generator=draws)
    w = w * torch.exp(0.25 * randn(width, 1, generator=draws))
    rank = max(8, width // 32)
    left = randn(width, rank, generator=draws) * torch.arange(1, rank + 1).float() ** -0.5
    w = w + 1.5 * left @ randn(rank, width, generator=draws) / sqrt(rank)
    heavy = torch.rand(width, width, generator=draws) < 1e-3
    w = torch.where(heavy, 5 * w, w) / channels.sqrt()
    return w * (0.02 / w.std())
