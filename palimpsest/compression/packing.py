"""Integers packed into bytes at any width: bitmasks (1 bit), indices, quantized weights (2 to 8 bits)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LANES = 8  # integers of up to 8 bits that are packed at once: they fill `width` bytes of one word of 64 bits
PIECE = 1 << 20  # values that are chosen from at once


def packed_size(count: int, width: int) -> int:
    """Bytes of `count` integers of `width` bits."""
    return (count * width + 7) // 8


def pack(integers: Tensor, width: int) -> Tensor:
    """Non-negative integers < 2^width, in the order of the flattened tensor, as uint8 bytes; low bits first."""
    values = integers.flatten().numpy()
    if width == 1:
        return torch.from_numpy(np.packbits(values, bitorder="little"))
    if width > 8:
        bits = (values.astype(np.uint16)[:, None] >> np.arange(width, dtype=np.uint16)) & 1
        return torch.from_numpy(np.packbits(bits.astype(np.uint8).ravel(), bitorder="little"))
    lanes = np.zeros((-(-len(values) // LANES), LANES), np.uint8)
    lanes.reshape(-1)[: len(values)] = values
    words = np.zeros(len(lanes), "<u8")
    for place in range(LANES):
        words |= lanes[:, place].astype(np.uint64) << np.uint64(place * width)
    packed = words.view(np.uint8).reshape(-1, LANES)[:, :width]
    return torch.from_numpy(packed.reshape(-1)[: packed_size(len(values), width)].copy())


def unpack(packed: Tensor, width: int, count: int) -> Tensor:
    """The first `count` integers that `pack` packed: uint8 (count,), or int32 for widths above 8."""
    if width > 8:
        bits = np.unpackbits(packed.numpy(), count=count * width, bitorder="little").reshape(count, width)
        weights = (1 << np.arange(width)).astype(np.int32)
        return torch.from_numpy(bits.astype(np.int32) @ weights)
    used, bytes_ = -(-count // LANES), packed_size(count, width)
    padded = np.zeros(used * width, np.uint8)
    padded[:bytes_] = packed.numpy()[:bytes_]
    lanes = np.zeros((used, LANES), np.uint8)
    lanes[:, :width] = padded.reshape(used, width)
    words = lanes.view("<u8").reshape(-1)
    values = np.empty((used, LANES), np.uint8)
    for place in range(LANES):
        values[:, place] = (words >> np.uint64(place * width)) & np.uint64(2**width - 1)
    return torch.from_numpy(values.reshape(-1)[:count])


def chosen(values: Tensor, mask: Tensor) -> Tensor:
    """`values[mask]` of a contiguous tensor: NumPy's indices and take are 10 times as fast as a boolean index."""
    bits = values.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])
    flat, where = bits.flatten().numpy(), mask.flatten().numpy()
    pieces = range(0, max(1, len(flat)), PIECE)  # an index takes 8 bytes
    found = [flat[start : start + PIECE].take(np.flatnonzero(where[start : start + PIECE])) for start in pieces]
    return torch.from_numpy(np.concatenate(found)).view(values.dtype)


def index_width(count: int) -> int:
    """Bits that tell `count` things apart (at least 1)."""
    return max(1, (count - 1).bit_length())
