"""Integers, but for the outlier input channels: what LLM.int8() leaves."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from palimpsest.compression.packing import index_width, pack, unpack
from palimpsest.compression.weights.base import CompressedWeight


class Mixed(CompressedWeight):
    """int8 columns, one scale a row, and columns that keep their values: those of the channels in `exempt`.

    The values keep the data type of the checkpoint. What rounds the inputs leaves the exempt channels alone.
    """

    kind = "mixed"

    def __init__(
        self,
        codes: Integer[Tensor, "out regular"],
        scales: Float[Tensor, "out 1"],
        values: Float[Tensor, "out exempt"],
        exempt: Integer[Tensor, " exempt"],
    ) -> None:
        self.codes, self.scales, self.values, self.exempt = codes, scales, values.contiguous(), exempt.long()
        self.shape, self.dtype = (len(codes), codes.shape[1] + values.shape[1]), values.dtype

    def matrix(self) -> Float[Tensor, "out in"]:
        regular = torch.ones(self.shape[1], dtype=torch.bool)
        regular[self.exempt] = False
        weight = torch.empty(self.shape, dtype=self.dtype)
        weight[:, regular] = (self.codes.float() * self.scales.float()).to(self.dtype)
        weight[:, self.exempt] = self.values
        return weight

    def achieved(self) -> dict[str, float]:
        share = len(self.exempt) / self.shape[1]
        return {"bits": 8 + share * (8 * self.values.element_size() - 8)}

    def _to(self, dtype: torch.dtype) -> Mixed:
        return Mixed(self.codes, self.scales, self.values.to(dtype), self.exempt)

    def _pack(self) -> dict[str, Tensor]:
        exempt = pack(self.exempt, index_width(self.shape[1]))
        return {"codes": self.codes, "scales": self.scales, "values": self.values, "exempt": exempt}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Mixed:
        exempt = unpack(tensors["exempt"], index_width(metadata["shape"][1]), tensors["values"].shape[1])
        return cls(tensors["codes"], tensors["scales"], tensors["values"], exempt)
