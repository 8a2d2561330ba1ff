"""Integers packed into bytes at any width: bitmasks (1 bit), indices, quantized weights (2 to 8 bits)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def packed_size(count: int, width: int) -> int:
    """Bytes of `count` integers of `width` bits."""
    return (count * width + 7) // 8


def pack(integers: Tensor, width: int) -> Tensor:
    """Non-negative integers < 2^width, in the order of the flattened tensor, as uint8 bytes; low bits first."""
    values = integers.flatten().numpy().astype(np.uint16 if width > 8 else np.uint8)
    if width == 8:
        return torch.from_numpy(values.copy())
    bits = (values[:, None] >> np.arange(width, dtype=values.dtype)) & 1
    return torch.from_numpy(np.packbits(bits.astype(np.uint8).ravel(), bitorder="little"))


def unpack(packed: Tensor, width: int, count: int) -> Tensor:
    """The first `count` integers that `pack` packed: uint8 (count,), or int32 for widths above 8."""
    if width == 8:
        return packed[:count].clone()
    bits = np.unpackbits(packed.numpy(), count=count * width, bitorder="little").reshape(count, width)
    weights = (1 << np.arange(width)).astype(np.int32 if width > 8 else np.uint8)
    return torch.from_numpy(bits.astype(weights.dtype) @ weights)


def index_width(count: int) -> int:
    """Bits that tell `count` things apart (at least 1)."""
    return max(1, (count - 1).bit_length())
