"""Integers and scales: what quantization leaves."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from palimpsest.compression.packing import index_width, pack, unpack
from palimpsest.compression.weights.base import CompressedWeight


class Quantized(CompressedWeight):
    """Integers of 2 to 8 bits: weight = scale · (code - zero), one scale and zero for each row of a group of columns.

    Scales are float16, or float32 where one of them is outside float16's normal range. The zeros are integers of the
    same width, or of the scales' type (HQQ); a symmetric grid has none (its zero is 2^(bits-1)). `groups` (in,) says
    which group a column is in; it is stored only where groups are not runs of `group` columns (act-order).
    """

    kind = "quantized"

    def __init__(
        self,
        codes: Integer[Tensor, "out in"],
        scales: Float[Tensor, "out groups"],
        zeros: Integer[Tensor, "out groups"] | Float[Tensor, "out groups"] | None,
        bits: int,
        group: int | None = None,
        groups: Integer[Tensor, " in"] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.codes, self.scales = codes.to(torch.uint8).contiguous(), scales.contiguous()
        self.zeros = None if zeros is None else zeros.contiguous()
        self.bits, self.group, self.dtype, self.shape = bits, group, dtype, tuple(codes.shape)
        runs = group_of_columns(self.shape[1], group)
        self.groups = runs if groups is None else groups.long()
        self.runs = torch.equal(self.groups, runs)

    def matrix(self) -> Float[Tensor, "out in"]:
        zeros = 2 ** (self.bits - 1) if self.zeros is None else self._by_column(self.zeros)
        matrix = self.codes.float().view(len(self.codes), *self._by_column(self.scales).shape[1:-1], -1)
        return matrix.sub_(zeros).mul_(self._by_column(self.scales)).view(self.shape)

    def _by_column(self, values: Float[Tensor, "out groups"]) -> Float[Tensor, ...]:
        """What each column's group has; for whole runs of columns as it is, to be broadcast, which is much faster."""
        if self.runs and self.shape[1] % (self.group or self.shape[1]) == 0:
            return values.float()[..., None]
        return values.float()[:, self.groups]

    def achieved(self) -> dict[str, float]:
        return {"bits": self.bits}

    def _to(self, dtype: torch.dtype) -> Quantized:
        return Quantized(self.codes, self.scales, self.zeros, self.bits, self.group, self.groups, dtype)

    def _pack(self) -> dict[str, Tensor]:
        tensors = {"codes": pack(self.codes, self.bits), "scales": self.scales}
        if self.zeros is not None:
            tensors["zeros"] = self.zeros if self.zeros.is_floating_point() else pack(self.zeros, self.bits)
        if not self.runs:
            tensors["groups"] = pack(self.groups, index_width(self.scales.shape[1]))
        return tensors

    def _settings(self) -> dict[str, Any]:
        return {"bits": self.bits, "group": self.group, "scales": str(self.scales.dtype).removeprefix("torch.")}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Quantized:
        codes = unpack(tensors["codes"], metadata["bits"], prod(metadata["shape"])).view(*metadata["shape"])
        return cls.of_codes(codes, tensors, metadata)

    @classmethod
    def of_codes(
        cls, codes: Integer[Tensor, "out in"], tensors: dict[str, Tensor], metadata: dict[str, Any]
    ) -> Quantized:
        """The matrix of these integers, whose other stored tensors are given."""
        bits, scales, zeros = metadata["bits"], tensors["scales"], tensors.get("zeros")
        if zeros is not None and not zeros.is_floating_point():
            zeros = unpack(zeros, bits, scales.numel()).view_as(scales)
        groups = tensors.get("groups")
        if groups is not None:
            groups = unpack(groups, index_width(scales.shape[1]), codes.shape[1])
        return cls(codes, scales, zeros, bits, metadata["group"], groups, getattr(torch, metadata["dtype"]))


def group_of_columns(columns: int, group: int | None) -> Integer[Tensor, " columns"]:
    """The number of each column's group, for groups of neighbours; the last one may be smaller."""
    return torch.arange(columns) // (group or columns)
