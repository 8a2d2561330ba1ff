"""Kept values and where they are: what pruning leaves."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.compression.packing import index_width, pack, unpack
from palimpsest.compression.selection import smallest, smallest_of_groups
from palimpsest.compression.weights.base import CompressedWeight
from palimpsest.levels import NofM, Sparsity


class Sparse(CompressedWeight):
    """The kept values, row by row, and where they are: a bit for each weight, or for N:M the places within each group.

    Places take ceil(log2 M) bits each (2:4: 4 bits a group, as sparse tensor cores have it); the bitmask is used where
    it is smaller (4:8), and where the last group of a row is not whole.
    """

    kind = "sparse"

    def __init__(
        self, weight: Float[Tensor, "out in"], kept: Bool[Tensor, "out in"], n_of_m: NofM | None = None
    ) -> None:
        self.kept, self.shape, self.dtype = kept, tuple(weight.shape), weight.dtype
        self.values = weight[kept]
        whole = n_of_m is not None and self.shape[1] % n_of_m.group == 0
        self.n_of_m = n_of_m if whole and n_of_m.keep * index_width(n_of_m.group) <= n_of_m.group else None

    @classmethod
    def keep_largest(
        cls,
        weight: Float[Tensor, "out in"],
        score: Float[Tensor, "out in"],
        level: Sparsity | NofM,
        within: str = "layer",
    ) -> Sparse:
        """Keep the weights with the largest `score`, compared within the "layer" or each "row" (N:M: each group)."""
        if isinstance(level, NofM):
            return cls(weight, ~smallest_of_groups(score, level), level)
        if within == "layer":
            return cls(weight, ~smallest(score.flatten(), level.fraction).view_as(score))
        return cls(weight, ~smallest(score, level.fraction))

    def matrix(self) -> Float[Tensor, "out in"]:
        weight = torch.zeros(self.shape, dtype=self.dtype)
        weight[self.kept] = self.values
        return weight

    def achieved(self) -> dict[str, float]:
        return {"sparsity": 1 - len(self.values) / self.kept.numel()}

    def _to(self, dtype: torch.dtype) -> Sparse:
        return Sparse(self.matrix().to(dtype), self.kept, self.n_of_m)

    def _pack(self) -> dict[str, Tensor]:
        if self.n_of_m is None:
            return {"values": self.values, "bitmask": pack(self.kept, 1)}
        places = self.kept.view(-1, self.n_of_m.group).nonzero()[:, 1]
        return {"values": self.values, "places": pack(places, index_width(self.n_of_m.group))}

    def _settings(self) -> dict[str, Any]:
        return {"n_of_m": self.n_of_m and [self.n_of_m.keep, self.n_of_m.group]}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Sparse:
        shape, pattern = metadata["shape"], metadata["n_of_m"]
        if pattern is None:
            kept = unpack(tensors["bitmask"], 1, prod(shape)).bool().view(shape)
        else:
            keep, group = pattern
            places = unpack(tensors["places"], index_width(group), prod(shape) // group * keep).long().view(-1, keep)
            kept = torch.zeros(prod(shape) // group, group, dtype=torch.bool).scatter_(1, places, True).view(shape)
        weight = torch.zeros(shape, dtype=tensors["values"].dtype)
        weight[kept] = tensors["values"]
        return cls(weight, kept, pattern and NofM(*pattern))
