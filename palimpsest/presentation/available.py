"""Which figures and tables the results in a folder have data for."""

from __future__ import annotations

from palimpsest.presentation import arms_of, probes_of, quantities, represented
from palimpsest.presentation.data import Tables


def figures(tables: Tables) -> list[str]:
    """Names of the figures that can be drawn, in the order of the report."""
    from palimpsest.presentation.figures import (
        accuracy_cost,
        choices,
        lengths,
        nli_rate,
        origins,
        planted,
        probe_heads,
        probe_nli,
        probe_rate,
        prompt_length,
        selective,
        unsaid,
    )
    from palimpsest.presentation.names import (
        FIGURES,
        MANY_TASKS,
        MOST_CELLS,
        MOST_COLUMNS,
        MOST_MAPS,
        shared_cells,
        sweeps,
        told_apart,
    )

    cells = [cell for cell in tables.cells if not cell.is_dense]
    asked = [cell for cell in tables.answering(quantities.CLOSED_BOOK.task) if not cell.is_dense]
    few = told_apart(cells)
    compressed = bool(tables.models)
    kinds = quantities.perplexities(tables, "relative_perplexity", quantities.WITHOUT_KNOWN_FACTS)
    world = tables.has(quantities.CLOSED_BOOK)
    tasks = {quantity.task for quantity in quantities.by_task(tables)}
    many = len({quantity.task for quantity in quantities.judged(tables)}) >= MANY_TASKS
    costs = recovers(tables) and bool(quantities.judged(tables))
    timed = costs and bool(tables.contexts(tables.models[0]))
    similar = recovers(tables) and (tables.folder / "similarity.parquet").exists()
    have = {
        "accuracy": compressed and few and world,
        "knowledge_vs_perplexity": few and bool(kinds) and tables.has(quantities.CLOSED_BOOK_CHANGE),
        "knowledge_bits": few and tables.has(quantities.BITS),
        "flips": compressed and len(cells) <= MOST_CELLS and bool(quantities.flips(tables)),
        "tasks": compressed and many and len(cells) <= MOST_COLUMNS,
        "calibration": world and bool(sweeps(tables.calibrations)),
        "models": world and 0 < len(shared_cells(asked)) <= MOST_CELLS,
        "origins": compressed and len(cells) <= MOST_CELLS and bool(origins.panels_of(tables)),
        "lengths": compressed and len(cells) <= MOST_CELLS and bool(lengths.kinds_of(tables)),
        "recovery": bool(tables.recoveries) and tables.has(quantities.POOLS["U"]),
        "displaced": recovers(tables) and bool(arms_of.scored(tables)),
        "displaced_frequency": recovers(tables) and bool(arms_of.scored(tables)),
        "prompt_length": bool(prompt_length.lengths_of(tables)) and bool(quantities.judged(tables)),
        "choices": choices.gain(tables) is not None and bool(choices.choosing(tables)),
        "cost": costs,
        "latency": costs and timed,
        "regimes": similar,
        "heads": similar,
        "planted": bool(
            ((tables.metrics["metric"] == "planted_delta") & (tables.metrics["task"] == planted.TASK)).any()
        ),
        "unsaid": 0 < len(unsaid.cells_of(tables)) <= MOST_CELLS,
        "probes": few and bool(probes_of.of_all(tables)),
        "nli_rate": few and bool(nli_rate.panels_of(tables)),
        "probe_rate": few and bool(probe_rate.panels_of(tables)),
        "probe_selectivity": few and bool(probe_rate.panels_of(tables, "selectivity")),
        "probe_layers": few and bool(probe_rate.panels_of(tables)),
        "probe_heads": bool(probe_heads.panels_of(tables)),
        "probe_nli": few and bool(probe_nli.panels_of(tables)),
        "selective": bool(selective.shown(tables)),
        "accuracy_cost": few and bool(accuracy_cost.panels_of(tables)),
        "cka": 0 < len(represented.of_study(tables, "cka")) <= MOST_MAPS,
        "logit_lens": few and bool(represented.of_study(tables, "logit_lens")),
        "spectra": 0 < len(represented.of_study(tables, "weight")) <= MOST_MAPS,
        "sensitivity": 0 < len(represented.of_study(tables, "sensitivity")) <= MOST_MAPS,
        "language": compressed and few and not world and len(tasks) < MANY_TASKS,
        "time": bool(tables.times),
    }
    return [name for name in FIGURES if have[name]]


def recovers(tables: Tables) -> bool:
    """Whether a compressed cell has a recovery."""
    return any(not cell.is_dense for cell in tables.recoveries)


def tables_of(tables: Tables) -> list[str]:
    """Names of the tables that can be made."""
    from palimpsest.presentation.figures import selective

    costs = recovers(tables) and bool(quantities.judged(tables))
    have = {
        "cells": True,
        "flips": bool(tables.models) and bool(quantities.flips(tables)),
        "matching": bool(tables.models) and bool(quantities.flips(tables)),
        "tasks": True,
        "judge": bool(quantities.judge_tasks(tables)),
        "equal_bytes": bool((tables.metrics["metric"] == "cells_at_equal_bytes").any()),
        "calibration": tables.has(quantities.LEAKAGE),
        "recovery": bool(tables.recoveries) and tables.has(quantities.POOLS["U"]),
        "arms": recovers(tables) and bool(arms_of.scored(tables)),
        "choices": bool(tables.metrics["metric"].isin(("choice_share", "chosen")).any()),
        "regimes": recovers(tables) and (tables.folder / "similarity.parquet").exists(),
        "latency": costs and bool(tables.contexts(tables.models[0])),
        "latency_pairs": costs and (tables.folder / "latency.parquet").exists(),
        "selective": bool(selective.shown(tables)),
        "probes": any(probes_of.readings(tables, model) for model in tables.models),
        "spectra": bool(represented.of_study(tables, "weight")),
        "leaks": len(tables.leaks) > 0,
        "claims": bool(tables.claims),
        "time": bool(tables.times),
    }
    return [name for name, there in have.items() if there]
