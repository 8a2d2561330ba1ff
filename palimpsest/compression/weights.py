"""What a compressed matrix is made of: a bitmask and values, integers and scales, or two factors.

Every kind has `tensors()` (what is stored), `nbytes` (its size), `dense()` (the matrix that it stands for), `linear(x)`
and `metadata()`; `from_tensors` gives back the same matrix, bit by bit. Values and factors keep the data type of the
checkpoint, so that a weight that a method leaves alone is exactly the checkpoint's.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from palimpsest.compression.packing import pack, unpack
from palimpsest.compression.selection import smallest, smallest_of_groups
from palimpsest.levels import NofM, Sparsity


class CompressedWeight:
    """A matrix (out, in) in compressed form."""

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[CompressedWeight]]] = {}
    shape: tuple[int, int]
    dtype: torch.dtype

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.kind] = cls

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return self._pack()

    def tensors(self) -> dict[str, Tensor]:
        """What is stored, by name."""
        return dict(self._tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tensors."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    @property
    def bits_per_weight(self) -> float:
        """8 · nbytes / (out · in)."""
        return 8 * self.nbytes / prod(self.shape)

    def metadata(self) -> dict[str, Any]:
        """What `from_tensors` must know beside the tensors; JSON-able."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "dtype": str(self.dtype).removeprefix("torch."),
            **self._settings(),
        }

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> CompressedWeight:
        """The matrix whose `tensors()` and `metadata()` these are."""
        return CompressedWeight.kinds[metadata["kind"]]._unpack(tensors, metadata)

    def linear(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """What the compressed layer (without its bias) answers."""
        return x @ self.dense().to(x.dtype).T

    def dense(self) -> Float[Tensor, "out in"]:
        """The matrix that the compressed layer stands for."""
        raise NotImplementedError

    def achieved(self) -> dict[str, float]:
        """The level, measured on what is stored."""
        raise NotImplementedError

    def to(self, dtype: torch.dtype) -> CompressedWeight:
        """The same, with values (or the dense matrix) of another data type."""
        raise NotImplementedError

    def _pack(self) -> dict[str, Tensor]:
        raise NotImplementedError

    def _settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> CompressedWeight:
        raise NotImplementedError


class Dense(CompressedWeight):
    """A matrix left as it is (kept share 1.0). In an artifact it is not stored: it refers to the checkpoint's."""

    kind = "dense"

    def __init__(self, weight: Float[Tensor, "out in"]) -> None:
        self.weight, self.shape, self.dtype = weight, tuple(weight.shape), weight.dtype

    def dense(self) -> Float[Tensor, "out in"]:
        return self.weight

    def achieved(self) -> dict[str, float]:
        return {"kept_share": 1.0}

    def to(self, dtype: torch.dtype) -> Dense:
        return Dense(self.weight.to(dtype))

    def _pack(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Dense:
        return cls(tensors["weight"])


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
        self.n_of_m = n_of_m if whole and n_of_m.keep * _width(n_of_m.group) <= n_of_m.group else None

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

    def dense(self) -> Float[Tensor, "out in"]:
        weight = torch.zeros(self.shape, dtype=self.dtype)
        weight[self.kept] = self.values
        return weight

    def achieved(self) -> dict[str, float]:
        return {"sparsity": 1 - len(self.values) / self.kept.numel()}

    def to(self, dtype: torch.dtype) -> Sparse:
        return Sparse(self.dense().to(dtype), self.kept, self.n_of_m)

    def _pack(self) -> dict[str, Tensor]:
        if self.n_of_m is None:
            return {"values": self.values, "bitmask": pack(self.kept, 1)}
        places = self.kept.view(-1, self.n_of_m.group).nonzero()[:, 1]
        return {"values": self.values, "places": pack(places, _width(self.n_of_m.group))}

    def _settings(self) -> dict[str, Any]:
        return {"n_of_m": self.n_of_m and [self.n_of_m.keep, self.n_of_m.group]}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Sparse:
        shape, pattern = metadata["shape"], metadata["n_of_m"]
        if pattern is None:
            kept = unpack(tensors["bitmask"], 1, prod(shape)).bool().view(shape)
        else:
            keep, group = pattern
            places = unpack(tensors["places"], _width(group), prod(shape) // group * keep).long().view(-1, keep)
            kept = torch.zeros(prod(shape) // group, group, dtype=torch.bool).scatter_(1, places, True).view(shape)
        weight = torch.zeros(shape, dtype=tensors["values"].dtype)
        weight[kept] = tensors["values"]
        return cls(weight, kept, pattern and NofM(*pattern))


class LowRank(CompressedWeight):
    """Two factors: left (out, rank) times right (rank, in)."""

    kind = "low rank"

    def __init__(self, left: Float[Tensor, "out rank"], right: Float[Tensor, "rank in"]) -> None:
        self.left, self.right = left.contiguous(), right.contiguous()
        self.shape, self.dtype = (left.shape[0], right.shape[1]), left.dtype

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    def dense(self) -> Float[Tensor, "out in"]:
        return self.left @ self.right

    def linear(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        return x @ self.right.to(x.dtype).T @ self.left.to(x.dtype).T

    def achieved(self) -> dict[str, float]:
        return {"kept_share": self.rank * sum(self.shape) / prod(self.shape), "rank": self.rank}

    def to(self, dtype: torch.dtype) -> LowRank:
        return LowRank(self.left.to(dtype), self.right.to(dtype))

    def _pack(self) -> dict[str, Tensor]:
        return {"left": self.left, "right": self.right}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> LowRank:
        return cls(tensors["left"], tensors["right"])


class Quantized(CompressedWeight):
    """Integers of 2 to 8 bits: weight = scale · (code - zero), one scale and zero for each row of a group of columns.

    Scales are float16, or float32 where one of them is outside float16's normal range. The zeros are integers of the
    same width; a symmetric grid has none (its zero is 2^(bits-1)). `groups` (in,) says which group a column is in; it
    is stored only where groups are not runs of `group` columns (act-order).
    """

    kind = "quantized"

    def __init__(
        self,
        codes: Integer[Tensor, "out in"],
        scales: Float[Tensor, "out groups"],
        zeros: Integer[Tensor, "out groups"] | None,
        bits: int,
        group: int | None = None,
        groups: Integer[Tensor, " in"] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.codes, self.scales = codes.to(torch.uint8), scales.contiguous()
        self.zeros = None if zeros is None else zeros.to(torch.uint8)
        self.bits, self.group, self.dtype, self.shape = bits, group, dtype, tuple(codes.shape)
        runs = group_of_columns(self.shape[1], group)
        self.groups = runs if groups is None else groups.long()
        self._runs = torch.equal(self.groups, runs)

    def dense(self) -> Float[Tensor, "out in"]:
        zeros = 2 ** (self.bits - 1) if self.zeros is None else self.zeros[:, self.groups].float()
        return ((self.codes.float() - zeros) * self.scales.float()[:, self.groups]).to(self.dtype)

    def achieved(self) -> dict[str, float]:
        return {"bits": self.bits}

    def to(self, dtype: torch.dtype) -> Quantized:
        return Quantized(self.codes, self.scales, self.zeros, self.bits, self.group, self.groups, dtype)

    def _pack(self) -> dict[str, Tensor]:
        tensors = {"codes": pack(self.codes, self.bits), "scales": self.scales}
        if self.zeros is not None:
            tensors["zeros"] = pack(self.zeros, self.bits)
        if not self._runs:
            tensors["groups"] = pack(self.groups, _width(self.scales.shape[1]))
        return tensors

    def _settings(self) -> dict[str, Any]:
        return {"bits": self.bits, "group": self.group, "scales": str(self.scales.dtype).removeprefix("torch.")}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Quantized:
        (rows, columns), bits, scales = metadata["shape"], metadata["bits"], tensors["scales"]
        codes = unpack(tensors["codes"], bits, rows * columns).view(rows, columns)
        zeros = unpack(tensors["zeros"], bits, scales.numel()).view_as(scales) if "zeros" in tensors else None
        groups = unpack(tensors["groups"], _width(scales.shape[1]), columns) if "groups" in tensors else None
        return cls(codes, scales, zeros, bits, metadata["group"], groups, getattr(torch, metadata["dtype"]))


def group_of_columns(columns: int, group: int | None) -> Integer[Tensor, " columns"]:
    """The number of each column's group, for groups of neighbours; the last one may be smaller."""
    return torch.arange(columns) // (group or columns)


def _width(count: int) -> int:
    """Bits that tell `count` things apart (at least 1)."""
    return max(1, (count - 1).bit_length())
