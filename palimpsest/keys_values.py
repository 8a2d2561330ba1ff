"""Keys and values that are computed once and stand before many rows: of a shared prefix, of a soft prompt.

They are aligned at their ends, with padding in front, so that what follows stands beside them: windows of attention
that slides, and absolute positions, stay what they are without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass
class Kept:
    """Keys and values of `lengths` (rows,) positions, at the end of (rows, heads, longest, width) of each layer.

    What follows has its first position at `lengths` + `skipped`; positions are skipped where a prompt is shorter than
    another one that might stand in its place.
    """

    layers: list[tuple[Tensor, Tensor] | None]
    lengths: Tensor
    skipped: Tensor

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    @property
    def next(self) -> Tensor:
        """(rows,), the position of what follows."""
        return self.lengths + self.skipped

    @property
    def mask(self) -> Tensor | None:
        """(rows, longest), False where there is padding; None if there is none."""
        longest = self.longest
        if int(self.lengths.min()) == longest:
            return None
        return torch.arange(longest, device=self.lengths.device) >= longest - self.lengths[:, None]

    def of(self, rows: Sequence[int]) -> Kept:
        """Those of the rows, which may come several times."""
        index = torch.tensor(rows, device=self.lengths.device)
        lengths = self.lengths[index]
        longest = int(lengths.max())

        def some(states: Tensor) -> Tensor:
            one = len(states) == 1  # seen by all, not copied
            return (states.expand(len(rows), -1, -1, -1) if one else states[index])[:, :, states.shape[2] - longest :]

        return Kept([layer and (some(layer[0]), some(layer[1])) for layer in self.layers], lengths, self.skipped[index])

    def followed_at(self, position: int) -> Kept:
        """The same, with what follows at `position`."""
        return Kept(self.layers, self.lengths, position - self.lengths)

    def cache(self) -> DynamicCache:
        """As transformers wants them; plain layers even where attention slides, which a mask does."""
        cache = DynamicCache()
        for layer in self.layers:
            cache.layers.append(DynamicLayer())
            if layer is not None:
                cache.layers[-1].lazy_initialization(*layer)
                cache.layers[-1].keys, cache.layers[-1].values = layer
        return cache

    @classmethod
    def joined(cls, parts: Sequence[Kept]) -> Kept:
        """The rows of all parts, one after another."""
        if len(parts) == 1:
            return parts[0]
        longest = max(part.longest for part in parts)

        def join(states: Sequence[Tensor]) -> Tensor:
            return torch.cat([pad(some, (0, 0, longest - some.shape[2], 0)) for some in states])

        layers = [
            layer[0] and tuple(join(states) for states in zip(*layer, strict=True))
            for layer in zip(*(part.layers for part in parts), strict=True)
        ]
        lengths, skipped = (torch.cat([getattr(part, name) for part in parts]) for name in ("lengths", "skipped"))
        return cls(layers, lengths, skipped)

    @classmethod
    def side_by_side(cls, parts: Sequence[Kept], position: int) -> Kept:
        """The positions of all parts (a row each, without padding) as one row; what follows is at `position`."""
        layers = [
            layer[0] and tuple(torch.cat(states, 2) for states in zip(*layer, strict=True))
            for layer in zip(*(part.layers for part in parts), strict=True)
        ]
        lengths = torch.stack([part.lengths for part in parts]).sum(0)
        return cls(layers, lengths, position - lengths)

    @classmethod
    def from_cache(cls, cache: DynamicCache, before: Kept | None, added: Tensor) -> Kept:
        """After a pass over rows of `added` (rows,) tokens, padded on the right, that followed what was kept before."""
        zero = torch.zeros_like(added)
        earlier, skipped = (zero, zero) if before is None else (before.lengths, before.skipped)
        lengths = earlier + added
        longest, first = int(lengths.max()), int(earlier.max())
        where = first + added[:, None] - longest + torch.arange(longest, device=added.device)
        aligned = bool((where == where[0]).all()) and int(where[0, 0]) >= 0
        where = where.clamp(min=0)[:, None, :, None]

        def align(states: Tensor) -> Tensor:
            if aligned:
                start = int(where[0, 0, 0, 0])
                return states[:, :, start : start + longest]
            return states.gather(2, where.expand(-1, states.shape[1], -1, states.shape[3]))

        layers = [(align(layer.keys), align(layer.values)) if layer.is_initialized else None for layer in cache.layers]
        return cls(layers, lengths, skipped)
