"""Which rows of tokens run together, and how much of a row is computed once for several.

A row is a tuple of tokens with the first position whose prediction is wanted. Rows that start alike (the options of a
question, the questions on a passage) share a prefix: it runs once and its keys and values serve them all. Everything
here depends on the set of rows alone, never on their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_SHARED = 4  # sharing fewer tokens, or a smaller part of a row, costs more than it saves
MIN_PART = 3


@dataclass(frozen=True, order=True)
class Row:
    """Input tokens, and the first position whose prediction is wanted (every later one is too)."""

    tokens: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass; `shared` tokens at their start are computed once for each distinct prefix."""

    shared: int
    rows: tuple[Row, ...]

    def halves(self) -> tuple[Batch, Batch]:
        middle = len(self.rows) // 2
        return Batch(self.shared, self.rows[:middle]), Batch(self.shared, self.rows[middle:])


def batches(
    rows: Sequence[Row], *, tokens: int, rows_at_most: int | None = None, share: bool = True
) -> Iterator[Batch]:
    """Cut distinct rows into batches, longest first, of about `tokens` computed tokens (padding counts)."""
    ordered = sorted(rows, key=lambda row: (row.tokens, row.first))
    groups = _share(ordered) if share else [(0, [row]) for row in ordered]
    # Rows with an equal shared length can share a batch; similar lengths side by side keep the padding small.
    groups.sort(key=lambda group: (-group[0], -max(len(row.tokens) for row in group[1]), group[1][0]))
    batch: list[Row] = []
    computed = longest = length = 0
    for shared, members in groups:
        for number, row in enumerate(sorted(members, key=lambda row: (-len(row.tokens), row))):
            suffix = len(row.tokens) - shared
            prefix = shared if number == 0 or not batch else 0
            cost = computed + prefix + max(longest, suffix) * (len(batch) + 1)
            if batch and (shared != length or cost > tokens or len(batch) == rows_at_most):
                yield Batch(length, tuple(batch))
                batch, computed, longest, prefix = [], 0, 0, shared
            batch.append(row)
            computed, longest, length = computed + prefix, max(longest, suffix), shared
    if batch:
        yield Batch(length, tuple(batch))


def _share(ordered: list[Row]) -> list[tuple[int, list[Row]]]:
    """Group neighbours in sorted order while a longer group saves more tokens than the shorter prefix costs."""
    groups: list[list] = []  # [shared length, rows]; a row alone shares nothing
    for row in ordered:
        if groups:
            shared, members = groups[-1]
            common = _common(members[0].tokens, row.tokens, min(row.first, shared or members[0].first))
            worth = common >= max(MIN_SHARED, len(row.tokens) // MIN_PART)
            if worth and len(members) * common >= (len(members) - 1) * shared:
                members.append(row)
                groups[-1][0] = common
                continue
        groups.append([0, [row]])
    return [(shared, members) for shared, members in groups]


def _common(a: tuple[int, ...], b: tuple[int, ...], most: int) -> int:
    for position in range(min(most, len(a), len(b))):
        if a[position] != b[position]:
            return position
    return min(most, len(a), len(b))
