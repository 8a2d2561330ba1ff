"""Kept values and where they are: what pruning leaves."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.compression.packing import chosen, index_width, pack, unpack
from palimpsest.compression.selection import smallest, smallest_of_groups
from palimpsest.compression.statistics import finite
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
        self.values = chosen(weight, kept)
        self.n_of_m = stored_as_places(n_of_m, self.shape[1])

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
        return torch.zeros(self.shape, dtype=self.dtype).masked_scatter_(self.kept, self.values)

    def surely_finite(self) -> bool:
        return self.input_scale is None and (len(self.values) == 0 or finite(self.values))

    def achieved(self) -> dict[str, float]:
        return {"sparsity": 1 - len(self.values) / self.kept.numel()}

    def _to(self, dtype: torch.dtype) -> Sparse:
        return Sparse(self.matrix().to(dtype), self.kept, self.n_of_m)

    def _pack(self) -> dict[str, Tensor]:
        return {"values": self.values} | pack_kept(self.kept, self.n_of_m)

    def _settings(self) -> dict[str, Any]:
        return {"n_of_m": self.n_of_m and [self.n_of_m.keep, self.n_of_m.group]}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Sparse:
        pattern = metadata["n_of_m"] and NofM(*metadata["n_of_m"])
        kept = unpack_kept(tensors, metadata["shape"], pattern)
        weight = torch.zeros(metadata["shape"], dtype=tensors["values"].dtype)
        return cls(weight.masked_scatter_(kept, tensors["values"]), kept, pattern)


def stored_as_places(n_of_m: NofM | None, columns: int) -> NofM | None:
    """The pattern, where the places of the kept weights are stored; None where a bitmask is."""
    whole = n_of_m is not None and columns % n_of_m.group == 0
    return n_of_m if whole and n_of_m.keep * index_width(n_of_m.group) <= n_of_m.group else None


def pack_kept(kept: Bool[Tensor, "out in"], n_of_m: NofM | None) -> dict[str, Tensor]:
    """Where the kept weights are: "bitmask", or for a pattern "places"."""
    if n_of_m is None:
        return {"bitmask": pack(kept, 1)}
    return {"places": pack(kept.view(-1, n_of_m.group).nonzero()[:, 1], index_width(n_of_m.group))}


def unpack_kept(tensors: dict[str, Tensor], shape: Sequence[int], n_of_m: NofM | None) -> Bool[Tensor, "out in"]:
    """What `pack_kept` packed."""
    if n_of_m is None:
        return unpack(tensors["bitmask"], 1, prod(shape)).bool().view(*shape)
    groups, width = prod(shape) // n_of_m.group, index_width(n_of_m.group)
    places = unpack(tensors["places"], width, groups * n_of_m.keep).long().view(groups, n_of_m.keep)
    return torch.zeros(groups, n_of_m.group, dtype=torch.bool).scatter_(1, places, True).view(*shape)
