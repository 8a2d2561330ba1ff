"""Allocations that are given, not found: every matrix, or only some."""

from __future__ import annotations

import math

from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.modules import named
from palimpsest.compression.allocation.registry import WHOLE, allocation
from palimpsest.compression.ranges import Blocks, Names, Whose
from palimpsest.levels import Level
from palimpsest.provenance import PalimpsestError


@allocation("uniform", formula="every matrix has the level asked", cost="none")
def uniform(case: Case) -> dict[str, Level]:
    """Every matrix at the level asked."""
    return {matrix.name: case.level for matrix in case.matrices}


@allocation(
    "only",
    needs=("modules", "blocks"),
    formula="the level asked, or dense; budget: whole: all that are named keep one share, so that Σ cost = asked",
    cost="none",
)
def only(case: Case, *, modules: Names = (), blocks: Blocks = (), budget: Whose = "chosen") -> dict[str, Level]:
    """Compress some modules or some blocks, and leave all else dense (targeted compression; Pletenev, 2024).

    modules: q_proj, or as much of a longer path as tells it from others (attn.c_proj). blocks: numbers from 0. Of both,
    the matrices that are in both. budget: whose level it is that is asked. "chosen": that of the matrices that are
    named, so that the whole model costs more. "whole": that of the whole model; the matrices that are named are
    compressed so much harder that it costs what it would if every matrix had the level asked (of bits, the others have
    8). The two are different questions: what is lost where the same is done to fewer matrices, and where the same is
    saved on fewer.
    """
    known, last = case.checkpoint.family.layers, case.matrices[-1].block
    if absent := [module for module in modules if not named(module, known)]:
        raise PalimpsestError(
            f"only: {case.checkpoint.folder} has no module {absent[0]!r}. Its modules: {', '.join(known)}."
        )
    if beyond := [block for block in blocks if block > last]:
        raise PalimpsestError(f"only: {case.checkpoint.folder} has blocks 0 to {last}, and no block {beyond[0]}.")
    layers = {layer for module in modules for layer in named(module, known)} if modules else set(known)
    chosen = [
        matrix.name
        for matrix in case.matrices
        if matrix.module in layers and (not blocks or matrix.block in blocks)
    ]  # fmt: skip
    if budget == WHOLE:
        shares = {matrix.name: 0.0 if matrix.name in chosen else math.inf for matrix in case.matrices}
        return case.budget.levels(case.budget.from_shares(shares))
    return dict.fromkeys(chosen, case.level)
