"""Two halves of the people: what is chosen, or calibrated, on one half can be confirmed on the other."""

from __future__ import annotations

import hashlib

HALVES = ("half_a", "half_b")


def half(person: str) -> str:
    """half_a or half_b, a fixed coin for each person."""
    return HALVES[hashlib.sha256(person.encode()).digest()[0] % 2]
