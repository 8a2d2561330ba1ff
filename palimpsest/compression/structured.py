"""Structured pruning of a block: what a matrix no longer reads, the matrices before it no longer make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.layer import check_weight, compress_layer
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight, Dense, Sliced
from palimpsest.levels import Level

if TYPE_CHECKING:
    from palimpsest.compression.walk import Recipe

Done = tuple[str, Tensor, CompressedWeight, Statistics, Level | None]


def compress_block(
    checkpoint: Checkpoint, number: int, recipe: Recipe, statistics: Mapping[tuple[str, ...], Statistics]
) -> Iterator[Done]:
    """Each layer of block `number`: its name, weight, what becomes of it, the statistics of its inputs, its level.

    The method sees the consumer of each coupling, and its columns in units: the heads that share a key and a value, or
    single channels. The rows of the producers follow; their biases stay, since nothing reads what they add to. The
    level of a coupling is that of its consumer.
    """
    shared = {layer: found for group, found in statistics.items() for layer in group}
    for coupling in checkpoint.family.couplings:
        name = checkpoint.layer_name(number, coupling.consumer)
        level, weight = recipe.level_of(name), checkpoint.matrix(name)
        width = weight.shape[1]
        units = key_value_heads(checkpoint) if coupling.heads else width
        found = shared[coupling.consumer].layer(name, unit=width // units)
        if level is None:
            compressed, kept = Dense(weight), None
        else:
            compressed = compress_layer(name, weight, found, recipe.method, level, recipe.seed, recipe.options)
            kept = compressed.kept_columns[:: width // units]
        yield name, weight, compressed, found, level
        for producer in coupling.producers:
            name = checkpoint.layer_name(number, producer)
            weight = checkpoint.matrix(name)
            check_weight(weight, name)
            if kept is None:
                compressed = Dense(weight)
            else:
                rows = rows_of_units(kept, len(weight), width, coupling.stacked)
                compressed = Sliced(weight[rows], kept_rows=rows)
            yield name, weight, compressed, shared[producer].layer(name), level


def rows_of_units(units: Bool[Tensor, " units"], rows: int, width: int, stacked: int = 1) -> Bool[Tensor, " rows"]:
    """True at the rows of a producer that make the inputs of these units of a consumer with `width` inputs.

    Each of the `stacked` matrices in the producer is split evenly among all units, in their order. The first of several
    makes as many outputs as the consumer reads (queries; gate); the others share the remaining rows.
    """
    sizes = [rows] if stacked == 1 else [width] + [(rows - width) // (stacked - 1)] * (stacked - 1)
    return torch.cat([units.repeat_interleave(size // len(units)) for size in sizes])


def key_value_heads(checkpoint: Checkpoint) -> int:
    """In how many parts a checkpoint's attention can be cut: heads, or groups of them that share a key and a value."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads
