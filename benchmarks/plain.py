"""The published algorithms as their papers print them, for the benchmarks to compare with. Nothing of the library."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK, DAMPING = 128, 0.01


def hessian(inputs: Float[Tensor, "tokens in"], length: int = 2048) -> Float[Tensor, "in in"]:
    """H = 2/n ΣXXᵀ, a calibration row at a time, as the layer's hook adds them up (GPTQ's `add_batch`)."""
    total = torch.zeros(inputs.shape[1], inputs.shape[1])
    for rows, row in enumerate(inputs.split(length)):
        total *= rows / (rows + 1)
        x = math.sqrt(2 / (rows + 1)) * row.T
        total += x @ x.T
    return total


def inverse_factor(h: Float[Tensor, "in in"], weight: Float[Tensor, "out in"]) -> Float[Tensor, "in in"]:
    """Cholesky(H⁻¹)ᵀ with dead channels and damping as both papers have them. Changes `h` and `weight`."""
    dead = h.diagonal() == 0
    h[dead, dead] = 1
    weight[:, dead] = 0
    h.diagonal().add_(DAMPING * h.diagonal().mean())
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def gptq(
    weight: Float[Tensor, "out in"], inputs: Float[Tensor, "tokens in"], bits: int, group: int
) -> Float[Tensor, "out in"]:
    """Algorithm 1 of Frantar et al. (arXiv:2210.17323), with asymmetric grids for groups of columns."""
    w = weight.clone()
    upper = inverse_factor(hessian(inputs), w)
    top = 2**bits - 1
    quantized = torch.zeros_like(w)
    for start in range(0, w.shape[1], BLOCK):
        stop = min(start + BLOCK, w.shape[1])
        part, factor = w[:, start:stop].clone(), upper[start:stop, start:stop]
        errors = torch.zeros_like(part)
        for j in range(stop - start):
            column = part[:, j]
            if (start + j) % group == 0:
                columns = w[:, start + j : start + j + group]
                low, high = columns.amin(1).clamp(max=0), columns.amax(1).clamp(min=0)
                scale = (high - low) / top
                zero = torch.round(-low / scale)
            q = scale * ((torch.round(column / scale) + zero).clamp(0, top) - zero)
            quantized[:, start + j] = q
            error = (column - q) / factor[j, j]
            part[:, j:] -= error[:, None] @ factor[j, j:][None]
            errors[:, j] = error
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    return quantized


def sparsegpt(
    weight: Float[Tensor, "out in"], inputs: Float[Tensor, "tokens in"], sparsity: float
) -> Float[Tensor, "out in"]:
    """Algorithm 1 of Frantar & Alistarh (arXiv:2301.00774): the mask of 128 columns at a time, by a sort."""
    w = weight.clone()
    upper = inverse_factor(hessian(inputs), w)
    for start in range(0, w.shape[1], BLOCK):
        stop = min(start + BLOCK, w.shape[1])
        part, factor = w[:, start:stop].clone(), upper[start:stop, start:stop]
        kept, errors = torch.zeros_like(part), torch.zeros_like(part)
        score = part**2 / factor.diagonal()[None] ** 2
        threshold = score.flatten().sort()[0][int(score.numel() * sparsity)]
        mask = score <= threshold
        for j in range(stop - start):
            column = part[:, j]
            q = column.clone()
            q[mask[:, j]] = 0
            kept[:, j] = q
            error = (column - q) / factor[j, j]
            part[:, j:] -= error[:, None] @ factor[j, j:][None]
            errors[:, j] = error
        w[:, start:stop] = kept
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    return w


def svd_llm(weight: Float[Tensor, "out in"], gram: Float[Tensor, "in in"], rank: int) -> tuple[Tensor, Tensor]:
    """Truncation-aware whitening of Wang et al. (arXiv:2403.07378): S = chol(XXᵀ), WS = UΣVᵀ, factors U√Σ, √ΣVᵀS⁻¹."""
    root = torch.linalg.cholesky(gram.double())
    inverse = torch.linalg.inv(root).float()
    left, sizes, right = torch.linalg.svd(weight @ root.float(), full_matrices=False)
    balance = sizes[:rank].sqrt()
    return left[:, :rank] * balance, balance[:, None] * (right[:rank] @ inverse)
