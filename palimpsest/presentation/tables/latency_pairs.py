"""Adapters of weights against prompts: what "21 times fewer parameters" and "60 % less latency" come to here."""

from __future__ import annotations

from palimpsest.measurement.rounds import MERGED, PLAIN
from palimpsest.presentation.data import Tables
from palimpsest.presentation.recovery_costs import longest, pairs, slower
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Adapters of weights against prompts: parameters, accuracy, and time at the longest input"


def rows(tables: Tables) -> Table:
    """One row a pair: an adapter's parameters over the prompt's, the prompt's accuracy minus its own, times over."""
    columns = [
        Column("weights", "adapter", right=False),
        Column("prompt", "prompt", right=False),
        Column("parameters_ratio", "parameters", "times", 1),
        Column("difference", "prompt is", "points better", 1, 100),
        Column("prefill", "prefill", "times", 2),
        Column("decode", "a token", "times", 2),
        Column("prefill_merged", "prefill", "merged, times", 2),
        Column("decode_merged", "a token", "merged, times", 2),
    ]
    table = Table([*cell_columns(tables), *columns])
    before = None
    for pair in pairs(tables):
        cell, context = pair.cell, longest(tables, pair.cell)
        row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
        row |= {"weights": pair.weights, "prompt": pair.prompt, "parameters_ratio": pair.fewer}
        row["difference"] = pair.difference
        for phase in ("prefill", "decode"):
            row[phase] = slower(tables, pair, phase, context, PLAIN)
            row[f"{phase}_merged"] = slower(tables, pair, phase, context, MERGED)
        table.add(row, new_block=cell != before)
        before = cell
    return table
