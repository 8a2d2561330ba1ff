"""Two factors: what low-rank methods leave."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.weights.base import CompressedWeight


class LowRank(CompressedWeight):
    """Two factors: left (out, rank) times right (rank, in)."""

    kind = "low rank"

    def __init__(self, left: Float[Tensor, "out rank"], right: Float[Tensor, "rank in"]) -> None:
        self.left, self.right = left.contiguous(), right.contiguous()
        self.shape, self.dtype = (left.shape[0], right.shape[1]), left.dtype

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    def matrix(self) -> Float[Tensor, "out in"]:
        return self.left @ self.right

    def surely_finite(self) -> bool:
        bound = self.left.float().norm(dim=1).max() * self.right.float().norm(dim=0).max()  # Cauchy-Schwarz
        return self.input_scale is None and bool(bound < torch.finfo(self.dtype).max / 2)

    def _product(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        x = x if self.input_scale is None else x / self.input_scale.to(x.dtype)
        return x @ self.right.to(x.dtype).T @ self.left.to(x.dtype).T

    def achieved(self) -> dict[str, float]:
        return {"kept_share": self.rank * sum(self.shape) / prod(self.shape), "rank": self.rank}

    def _to(self, dtype: torch.dtype) -> LowRank:
        return LowRank(self.left.to(dtype), self.right.to(dtype))

    def _pack(self) -> dict[str, Tensor]:
        return {"left": self.left, "right": self.right}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> LowRank:
        return cls(tensors["left"], tensors["right"])
