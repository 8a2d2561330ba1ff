"""Made-up rows of representation change: two low-rank cells of a model of four layers. Nothing here was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import presentation_example as example

from palimpsest.representation.spectra import curve, measures
from palimpsest.representation.table import COLUMNS

CELLS = {("dense", "full"): 0.0, ("svd", "k0.8"): 0.1, ("svd", "k0.6"): 0.3, ("random", "full"): 0.8}
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LAYERS, FULL = 4, 32


def spectrum(part: str, damage: float) -> np.ndarray:
    """Activations fall off faster than weights, and what a cell has lost is gone."""
    places = np.linspace(0, 1, FULL)
    fall = {"weight": 1.0, "input": 2.0, "output": 4.0}[part]
    return np.exp(-fall * places) * np.where(places > 1 - damage, 1e-9, 1)


def rows() -> tuple[pandas.DataFrame, dict[str, pandas.DataFrame]]:
    """Rows of metrics, and the points of each cell's spectra by the cell's path."""
    found, points = [], {}
    for (label, level), damage in CELLS.items():
        who = ["atlas", label, label, level, 0, "none"]

        def add(task, subset, scoring, layer, metric, value, half=0.01, n=200, who=who):
            found.append([*who, task, subset, scoring, str(layer), metric, value, value - half, value + half, n])

        for layer in range(LAYERS + 1):
            for other in range(LAYERS + 1):
                alike = (1 - damage * layer / LAYERS) * 0.7 ** abs(layer - other)
                add("perplexity", f"dense layer {other}", "cka", layer, "cka", alike)
            add("perplexity", f"dense layer {layer}", "cka", layer, "cka_permuted", 0.0)
            add("perplexity", "all", "logit_lens", layer, "lens_kl", (1 + damage) * (LAYERS - layer))
            add("perplexity", "all", "logit_lens", layer, "lens_top1_dense", (1 - damage) * layer / LAYERS)
            add("perplexity", "all", "logit_lens", layer, "lens_cross_entropy", 1.3 + damage + 3 * (LAYERS - layer))
        own = []
        for block in range(1, LAYERS + 1):
            for place, matrix in enumerate(MATRICES):
                for part in ("weight", "input", "output"):
                    task = "" if part == "weight" else "perplexity"
                    values = spectrum(part, damage if label != "random" else 0)
                    for metric, value in measures(values).items():
                        add(task, matrix, part, block, metric, value, np.nan, FULL)
                        add(task, matrix, part, block, f"{metric}_share", value / FULL, np.nan, FULL)
                    own += [[*who, task, matrix, part, str(block), *point] for point in curve(values)]
                if label == "svd":
                    hurt = damage / block * (3 if matrix == "v_proj" else 0.1 * place)
                    add("perplexity", matrix, "sensitivity", block, "sensitivity_error", hurt)
                    add("perplexity", matrix, "sensitivity", block, "sensitivity_kl", hurt / 10, 0.001)
                    add("tree_depth", matrix, "sensitivity", block, "sensitivity_probe_frozen", hurt / 3 - 0.01, 0.05)
        if label == "svd":
            add("perplexity", "all", "sensitivity", "all", "sensitivity_kl", damage, 0.01)
        source = who[1:4:2] if label != "random" else ["dense", "full"]
        points.setdefault("/".join(["atlas", *source, "s0"]), []).extend(own)
    columns = [*COLUMNS[:10], "place", "value"]
    return pandas.DataFrame(found, columns=list(COLUMNS)), {
        path: pandas.DataFrame(own, columns=columns) for path, own in points.items()
    }


def write(folder: Path) -> Path:
    """The example study with what its representations became."""
    example.write(folder)
    table, points = rows()
    pandas.concat([example.metrics(), table]).to_parquet(folder / "metrics.parquet")
    for path, own in points.items():
        (folder / "spectra" / path).parent.mkdir(parents=True, exist_ok=True)
        own.to_parquet(folder / "spectra" / f"{path}.parquet")
    return folder
