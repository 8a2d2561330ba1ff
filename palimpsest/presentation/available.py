"""Which figures and tables the results in a folder have data for."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Tables


def figures(tables: Tables) -> list[str]:
    """Names of the figures that can be drawn, in the order of the report."""
    from palimpsest.presentation.names import FIGURES

    compressed = bool(tables.models)
    kinds = quantities.perplexities(tables, "relative_perplexity", quantities.WITHOUT_KNOWN_FACTS)
    world = tables.has(quantities.CLOSED_BOOK)
    have = {
        "accuracy": compressed and world,
        "knowledge_vs_perplexity": bool(kinds) and tables.has(quantities.CLOSED_BOOK_CHANGE),
        "knowledge_bits": tables.has(quantities.BITS),
        "flips": compressed and bool(quantities.flips(tables)),
        "recovery": bool(tables.recovered) and tables.has(quantities.POOLS["U"]),
        "probes": (tables.folder / "probes.parquet").exists(),
        "language": compressed and not world,
        "time": bool(tables.times),
    }
    return [name for name in FIGURES if have[name]]


def tables_of(tables: Tables) -> list[str]:
    """Names of the tables that can be made."""
    have = {
        "cells": True,
        "flips": bool(tables.models) and bool(quantities.flips(tables)),
        "recovery": bool(tables.recovered) and tables.has(quantities.POOLS["U"]),
        "claims": bool(tables.claims),
        "time": bool(tables.times),
    }
    return [name for name, there in have.items() if there]
