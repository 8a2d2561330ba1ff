"""Bytes of an artifact's layer over its information: what the method keeps, and nothing else."""

from __future__ import annotations

import torch
from timing import table

from palimpsest import compress_weight, methods
from palimpsest.levels import parse

SHAPE = (1024, 1024)


def rows() -> list[str]:
    draws = torch.Generator().manual_seed(0)
    weight = 0.02 * torch.randn(SHAPE, generator=draws)
    inputs = torch.randn(2048, SHAPE[1], generator=draws)
    inputs[:, :4] *= 30  # channels that are outliers
    found = []
    for name, said in methods().items():
        for examples in said["levels"].values():
            level = examples[0] if examples[0] not in ("4", "3") else "4g128"
            compressed = compress_weight(weight, inputs if said["needs"] else None, name, level)
            needed = information(compressed) / 8
            over = f"{100 * (compressed.nbytes / needed - 1):+.2f} %"
            found.append([f"`{name}` {parse(level).text}", f"{compressed.nbytes:,}", f"{needed:,.0f}", over])
    return table("a million weights in float32 | bytes | information, bytes | over", found)


def information(compressed) -> float:
    """Bits of: kept values and one bit a weight (N:M: the places); integers and scales; factors; what stands beside."""
    tensors, count = compressed.tensors(), SHAPE[0] * SHAPE[1]
    beside = sum(8 * tensors[name].nbytes for name in ("input_scale", "bias") if name in tensors)
    kind, achieved = compressed.kind, compressed.achieved()
    width = 32
    if kind == "low rank":
        return beside + width * achieved["rank"] * sum(SHAPE)
    if kind == "sparse":
        return beside + width * round((1 - achieved["sparsity"]) * count) + count
    if kind == "sliced":
        return beside + width * round((1 - achieved["sparsity"]) * count) + SHAPE[1]
    if kind == "sparse quantized":
        kept = round((1 - achieved["sparsity"]) * count)
        return beside + _bits(tensors, "scales", "zeros") + achieved["bits"] * kept + count
    if kind == "mixed":
        exempt = len(compressed.exempt) * SHAPE[0]
        return beside + _bits(tensors, "scales") + 8 * (count - exempt) + width * exempt
    if kind == "codebook":
        return 4 * count + _bits(tensors, "scales", "steps", "mean")
    return beside + _bits(tensors, "scales", "zeros") + achieved["bits"] * count


def _bits(tensors: dict[str, torch.Tensor], *names: str) -> int:
    return sum(8 * tensors[name].nbytes for name in names if name in tensors)
