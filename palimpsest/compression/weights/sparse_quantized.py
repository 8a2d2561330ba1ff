"""Integers of the kept weights and where they are: what pruning and quantization at once leave."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.compression.packing import chosen, pack, unpack
from palimpsest.compression.weights.base import CompressedWeight
from palimpsest.compression.weights.quantized import Quantized
from palimpsest.compression.weights.sparse import pack_kept, stored_as_places, unpack_kept
from palimpsest.levels import NofM


class SparseQuantized(CompressedWeight):
    """A quantized matrix of which only the kept integers are stored, with all scales and zeros; the rest is zero.

    Where the kept ones are is stored as in `Sparse`: a bit for each weight, or the places within each N:M group.
    """

    kind = "sparse quantized"

    def __init__(self, quantized: Quantized, kept: Bool[Tensor, "out in"], n_of_m: NofM | None = None) -> None:
        self.quantized, self.kept = quantized, kept
        self.shape, self.dtype = quantized.shape, quantized.dtype
        self.n_of_m = stored_as_places(n_of_m, self.shape[1])

    def matrix(self) -> Float[Tensor, "out in"]:
        return self.quantized.matrix().masked_fill(~self.kept, 0)

    def achieved(self) -> dict[str, float]:
        return {"sparsity": 1 - int(self.kept.sum()) / self.kept.numel()} | self.quantized.achieved()

    def _to(self, dtype: torch.dtype) -> SparseQuantized:
        return SparseQuantized(self.quantized._to(dtype), self.kept, self.n_of_m)

    def _pack(self) -> dict[str, Tensor]:
        codes = pack(chosen(self.quantized.codes, self.kept), self.quantized.bits)
        return self.quantized.tensors() | {"codes": codes} | pack_kept(self.kept, self.n_of_m)

    def _settings(self) -> dict[str, Any]:
        return self.quantized._settings() | {"n_of_m": self.n_of_m and [self.n_of_m.keep, self.n_of_m.group]}

    @classmethod
    def _unpack(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> SparseQuantized:
        shape, pattern = metadata["shape"], metadata["n_of_m"] and NofM(*metadata["n_of_m"])
        kept = unpack_kept(tensors, shape, pattern)
        codes = torch.zeros(prod(shape), dtype=torch.uint8).view(*shape)
        codes[kept] = unpack(tensors["codes"], metadata["bits"], int(kept.sum()))
        return cls(Quantized.of_codes(codes, tensors, metadata), kept, pattern)
