"""Which rows of a probe are taken where there are more than wanted: the same ones each time, evenly."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from palimpsest.provenance import PalimpsestError

SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}  # of the rows, where there are enough of each split


def draw(rows: Sequence[Mapping[str, Any]], most: int, place: str = "rows") -> list[Mapping[str, Any]]:
    """At most so many rows, in their order: of every split its share (`SHARES`), within it of every label its share."""
    splits = defaultdict(list)
    for number, row in enumerate(rows):
        splits[row.get("split")].append(number)
    labels = [row.get("label", row.get("attribute")) for row in rows]
    kept = []
    for split, room in _rooms({split: len(numbers) for split, numbers in splits.items()}, most).items():
        of_label = defaultdict(list)
        for number in splits[split]:
            of_label[labels[number]].append(number)
        if room < len(of_label):
            raise PalimpsestError(
                f"{place}: of {most} rows {room} are for {split or 'all'}, which has {len(of_label)} labels. "
                f"Write at least {most * len(of_label) // max(1, room) + 1}."
            )
        for label, count in _parts({label: len(numbers) for label, numbers in of_label.items()}, room).items():
            kept += sorted(of_label[label], key=lambda number: _digest(rows[number]))[:count]
    return [rows[number] for number in sorted(kept)]


def _rooms(sizes: Mapping[Any, int], most: int) -> dict[Any, int]:
    """How many rows of each split: its share of `most`, or all that there are; training takes what others leave."""
    if sum(sizes.values()) <= most:
        return dict(sizes)
    rooms = {split: min(size, round(SHARES.get(split, 1.0) * most)) for split, size in sizes.items()}
    for split in ("train", "test", "validation"):
        if split in rooms:
            rooms[split] = min(sizes[split], rooms[split] + most - sum(rooms.values()))
    return rooms


def _parts(sizes: Mapping[Any, int], most: int) -> dict[Any, int]:
    """`most` dealt out in proportion to the sizes, one to each at least."""
    total = sum(sizes.values())
    if total <= most:
        return dict(sizes)
    exact = {label: max(1.0, size * most / total) for label, size in sizes.items()}
    parts = {label: int(part) for label, part in exact.items()}
    order = sorted(parts, key=lambda label: (parts[label] - exact[label], str(label)))
    for label in order[: max(0, most - sum(parts.values()))]:
        parts[label] += 1
    while sum(parts.values()) > most:
        parts[max(parts, key=lambda label: (parts[label], str(label)))] -= 1
    return parts


def _digest(row: Mapping[str, Any]) -> bytes:
    """Decides which rows are drawn; those of one group together."""
    return hashlib.sha256(str(row.get("group", row["id"])).encode()).digest()
