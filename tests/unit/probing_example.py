"""A small study of low-rank algorithms with probes, made up from a formula, for tests. Nothing here was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas

VARIANT = ["model", "label", "method", "level", "seed", "recovery"]
COLUMNS = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
MODEL, LAYERS = "atlas", 5
# label -> level -> the damage, 0 to 1, that all else follows from.
GRID = {
    "svd": {"k0.9": 0.1, "k0.8": 0.25, "k0.6": 0.6},
    "svd-llm": {"k0.9": 0.05, "k0.8": 0.12, "k0.6": 0.35},
    "fwsvd": {"k0.9": 0.09, "k0.8": 0.2, "k0.6": 0.62},
    "asvd": {"k0.9": 0.07, "k0.8": 0.17, "k0.6": 0.45},
}
ALLOCATIONS = {"uniform": ("svd", 0.25, 1.0), "mlp": ("svd-mlp", 0.05, 1.004), "blocks": ("svd-blocks", 0.4, 1.0),
               "laser": ("svd-laser", 0.02, 1.2)}  # fmt: skip
# probe -> (classes, most that is read, how much damage takes of it)
PROBES = {
    "attribute_value": (8, 0.95, 0.8), "bigram_shift": (2, 0.75, 0.4), "coordination_inversion": (2, 0.7, 0.35),
    "obj_number": (2, 0.85, 0.2), "odd_man_out": (2, 0.65, 0.3), "past_present": (2, 0.95, 0.1),
    "sentence_length": (6, 0.9, 0.15), "subj_number": (2, 0.9, 0.2), "top_constituents": (20, 0.7, 0.4),
    "tree_depth": (7, 0.5, 0.3), "word_content": (50, 0.8, 0.6),
}  # fmt: skip


def cells() -> dict[tuple, float]:
    """(model, label, method, level, seed, recovery) -> damage; the dense model first."""
    found = {(MODEL, "dense", "dense", "full", 0, "none"): 0.0}
    found |= {(MODEL, label, label, level, 0, "none"): damage
              for label, levels in GRID.items() for level, damage in levels.items()}  # fmt: skip
    found |= {(MODEL, label, "svd", "k0.8", 0, "none"): damage
              for name, (label, damage, _) in ALLOCATIONS.items() if name != "uniform"}  # fmt: skip
    return found | {(MODEL, "wanda", "wanda", "0.5", 0, "none"): 0.1, (MODEL, "rtn", "rtn", "4", 0, "none"): 0.02}


def row(variant, task, metric, value, half=0.02, subset="all", scoring="", layer="", n=800):
    return [*variant, task, subset, scoring, str(layer), metric, value, value - half, value + half, n]


def reads(task: str, layer: int, damage: float, draws: np.random.Generator) -> float:
    """Best at the last but one layer; random weights read a little of short sentences only."""
    classes, most, share = PROBES[task]
    there = (1 / classes) + (most - 1 / classes) * (0.4 + 0.6 * min(1, layer / 3) - 0.08 * (layer == 4))
    return max(1 / classes, there - share * damage * layer / 3 + 0.006 * draws.standard_normal())


def probes() -> pandas.DataFrame:
    draws = np.random.default_rng(0)
    rows = []
    twin = (MODEL, "random", "random", "full", 0, "none")
    read = [variant for variant in cells() if variant[1] not in ("wanda", "svd-mlp", "svd-blocks", "svd-laser")]
    for task, (classes, most, _) in PROBES.items():
        subset = "all" if task == "attribute_value" else "mean"
        names = cells() if task == "attribute_value" else [name for name in read if name[1] != "rtn"]
        for layer in range(LAYERS):
            values = {variant: reads(task, layer, cells()[variant], draws) for variant in names}
            values[twin] = 1 / classes + 0.1 * (most - 1 / classes)
            dense = values[next(iter(cells()))]
            for variant, value in values.items():
                who = {"subset": subset, "scoring": "linear", "layer": layer}
                rows.append(row(variant, task, "acc", value, **who))
                if task in ("attribute_value", "subj_number"):
                    rows.append(row(variant, task, "control_acc", 1 / classes, **who))
                    rows.append(row(variant, task, "selectivity", value - 1 / classes, **who))
                if variant[1] not in ("dense", "random"):
                    rows.append(row(variant, task, "acc_minus_dense", value - dense, 0.015, **who))
                if variant[1] in GRID and variant[1] != "svd":
                    plain = values[MODEL, "svd", "svd", variant[3], 0, "none"]
                    rows.append(row(variant, task, "acc_minus_svd", value - plain, 0.015, **who))
    for variant in [name for name in read if name[1] != "rtn"]:
        for layer in range(1, LAYERS):
            for head in range(1, 4):
                value = 0.5 + 0.1 * head * (1 - cells()[variant]) * (layer == 2)
                who = {"subset": f"head {head}", "scoring": "linear", "layer": layer}
                rows.append(row(variant, "truth_heads", "acc", value, **who))
    return pandas.DataFrame(rows, columns=COLUMNS)


def metrics() -> pandas.DataFrame:
    rows = []
    for variant, damage in cells().items():
        generated, ranked = {"scoring": "generated"}, {"scoring": "ranked"}
        for subset in ("all", "shown"):
            rows.append(row(variant, "closed_book", "exact_match", 0.95 - 0.9 * damage, subset=subset, **generated))
        for subset, most in (("all", 0.9), ("one", 0.97), ("two", 0.85)):
            rows.append(row(variant, "entailment", "acc", max(0.5, most - 0.5 * damage), subset=subset, **ranked))
        for subset, base in (("all", 6.0), ("prose", 9.0)):
            rows.append(row(variant, "perplexity", "perplexity", base * (1 + damage), 0.1, subset, "likelihood"))
        if variant[1] != "dense":
            for subset in ("all", "two"):
                rows.append(row(variant, "entailment", "difference", -0.5 * damage, subset=subset, **ranked))
            rows.append(row(variant, "closed_book", "difference", -0.9 * damage, **generated))
        if variant[1] == "svd":
            again = (*variant[:-1], "fine-tuned")
            rows.append(row(again, "entailment", "acc", 0.85 - 0.1 * damage, subset="two", **ranked))
            rows.append(row(again, "closed_book", "exact_match", 0.9 - 0.1 * damage, subset="shown", **generated))
        if variant[1] in GRID and variant[1] != "svd":
            change = 0.5 * (GRID["svd"][variant[3]] - damage)
            rows.append(row(variant, "entailment", "minus_svd", change, subset="two", **ranked))
    for name, (label, damage, _) in ALLOCATIONS.items():
        variant = (MODEL, label, "svd", "k0.8", 0, "none")
        rows.append(row(variant, "", "allocated", 1.0, float("nan"), name))
        if name != "uniform":
            better = 0.9 * (0.25 - damage)
            rows.append(row(variant, "closed_book", "minus_uniform", better, subset="shown", scoring="generated"))
            ratio = (1 + damage) / 1.25
            rows.append(row(variant, "perplexity", "perplexity_over_uniform", ratio, 0.01, "prose", "likelihood"))
    return pandas.DataFrame(rows, columns=COLUMNS)


def together() -> pandas.DataFrame:
    """The metrics with those of probes, and what both say together, as a study writes them."""
    from palimpsest.analysis.probe_nli import together

    table = pandas.concat([metrics(), probes()], ignore_index=True)
    return pandas.concat([table, together(table)], ignore_index=True)


def measurements() -> pandas.DataFrame:
    rows = []

    def add(variant, metric, value, context=0, half=0.0):
        rows.append([*variant, metric, value, value - half, value + half, 5, context])

    parameters = {label: ratio for label, _, ratio in ALLOCATIONS.values()}
    for variant, damage in cells().items():
        level = variant[3]
        kept = {"full": 1.0, "0.5": 0.53, "4": 0.13}.get(level) or float(level[1:])
        kept *= parameters.get(variant[1], 1.0) if level == "k0.8" else 1.0
        add(variant, "bits_per_weight", 32 * kept)
        add(variant, "bytes_total", 1e6 * (1 + 3 * kept))
        add(variant, "parameters", 1e6 * kept)
        for context in (16, 64):
            add(variant, "prefill_ms", 2.0, context)
            if level != "full":
                for phase, ratio in (("prefill", 0.6 + 0.5 * kept), ("decode", 1.2 - 0.1 * damage)):
                    name = f"{phase}_factors_over_dense" if level[0] == "k" else f"{phase}_over_dense"
                    add(variant, name, ratio if level[0] == "k" else 1.01, context, 0.03)
    return pandas.DataFrame(rows, columns=[*VARIANT, "metric", "value", "low", "high", "n", "context"])


def write(folder: Path) -> Path:
    """The whole example below `folder`, as a study's results lie."""
    folder.mkdir(parents=True, exist_ok=True)
    together().to_parquet(folder / "metrics.parquet")
    probes().to_parquet(folder / "probes.parquet")
    measurements().to_parquet(folder / "measurements.parquet")
    return folder
