"""Allocations that are given, not found: every matrix, or only some."""

from __future__ import annotations

from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.modules import named
from palimpsest.compression.allocation.registry import allocation
from palimpsest.compression.ranges import Blocks, Names
from palimpsest.levels import Level
from palimpsest.provenance import PalimpsestError


@allocation("uniform", formula="every matrix has the level asked", cost="none")
def uniform(case: Case) -> dict[str, Level]:
    """Every matrix at the level asked."""
    return {matrix.name: case.level for matrix in case.matrices}


@allocation("only", needs=("modules", "blocks"), formula="the level asked, or dense", cost="none")
def only(case: Case, *, modules: Names = (), blocks: Blocks = ()) -> dict[str, Level]:
    """Some modules or some blocks at the level asked, all else dense (targeted compression; Pletenev, 2024).

    modules: q_proj, or as much of a longer path as tells it from others (attn.c_proj). blocks: numbers from 0. Of both,
    the matrices that are in both.
    """
    known, last = case.checkpoint.family.layers, case.matrices[-1].block
    if absent := [module for module in modules if not named(module, known)]:
        raise PalimpsestError(
            f"only: {case.checkpoint.folder} has no module {absent[0]!r}. Its modules: {', '.join(known)}."
        )
    if beyond := [block for block in blocks if block > last]:
        raise PalimpsestError(f"only: {case.checkpoint.folder} has blocks 0 to {last}, and no block {beyond[0]}.")
    chosen = {layer for module in modules for layer in named(module, known)} if modules else set(known)
    return {
        matrix.name: case.level
        for matrix in case.matrices
        if matrix.module in chosen and (not blocks or matrix.block in blocks)
    }
