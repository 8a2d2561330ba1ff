"""The rows and columns that are left of a matrix: what structured pruning leaves."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.compression.packing import pack, unpack
from palimpsest.compression.weights.base import CompressedWeight


class Sliced(CompressedWeight):
    """A smaller dense matrix, and which rows and columns of the whole one it has: a bit each. The others are zero.

    kept_rows, kept_columns: None where all are kept.
    """

    kind = "sliced"

    def __init__(
        self,
        values: Float[Tensor, "rows columns"],
        kept_rows: Bool[Tensor, " out"] | None = None,
        kept_columns: Bool[Tensor, " in"] | None = None,
    ) -> None:
        self.values, self.dtype = values.contiguous(), values.dtype
        self.kept_rows = torch.ones(len(values), dtype=torch.bool) if kept_rows is None else kept_rows
        self.kept_columns = torch.ones(values.shape[1], dtype=torch.bool) if kept_columns is None else kept_columns
        self.shape = (len(self.kept_rows), len(self.kept_columns))

    def matrix(self) -> Float[Tensor, "out in"]:
        weight = torch.zeros(self.shape, dtype=self.dtype)
        weight[torch.outer(self.kept_rows, self.kept_columns)] = self.values.flatten()
        return weight

    def achieved(self) -> dict[str, float]:
        return {"sparsity": 1 - self.values.numel() / (self.shape[0] * self.shape[1])}

    def _product(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        x = x if self.input_scale is None else x / self.input_scale.to(x.dtype)
        answer = x.new_zeros((*x.shape[:-1], self.shape[0]))
        answer[..., self.kept_rows] = x[..., self.kept_columns] @ self.values.to(x.dtype).T
        return answer

    def _to(self, dtype: torch.dtype) -> Sliced:
        return Sliced(self.values.to(dtype), self.kept_rows, self.kept_columns)

    def _pack(self) -> dict[str, Tensor]:
        masks = {"rows": self.kept_rows, "columns": self.kept_columns}
        return {"values": self.values} | {name: pack(kept, 1) for name, kept in masks.items() if not kept.all()}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Sliced:
        rows, columns = (
            unpack(tensors[name], 1, count).bool() if name in tensors else None
            for name, count in zip(("rows", "columns"), metadata["shape"], strict=True)
        )
        return cls(tensors["values"], rows, columns)
