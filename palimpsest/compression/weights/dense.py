"""A matrix that is left as it is, or given back whole."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.weights.base import CompressedWeight


class Dense(CompressedWeight):
    """A matrix left as it is (kept share 1.0). In an artifact it is not stored: it refers to the checkpoint's."""

    kind = "dense"

    def __init__(self, weight: Float[Tensor, "out in"]) -> None:
        self.weight, self.shape, self.dtype = weight, tuple(weight.shape), weight.dtype

    def matrix(self) -> Float[Tensor, "out in"]:
        return self.weight

    def achieved(self) -> dict[str, float]:
        return {"kept_share": 1.0}

    def _to(self, dtype: torch.dtype) -> Dense:
        return type(self)(self.weight.to(dtype))

    def _pack(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Dense:
        return cls(tensors["weight"])


class Whole(Dense):
    """A dense matrix that is not the checkpoint's, and so is stored: what an adapter that was put into it leaves."""

    kind = "whole"
