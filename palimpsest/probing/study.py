"""All variants of a study, and for each dense model a twin with random weights, into `probes.parquet`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas

from palimpsest.probing.features import hidden_states, read_features
from palimpsest.probing.probes import COLUMNS, probe_variant
from palimpsest.provenance import atomic_file, verify_folder

if TYPE_CHECKING:
    from palimpsest.grid import Grid

RANDOM = "random"  # label and method of the twin with random weights


def probe(results: Path, grid: Grid, task: str, output: Path) -> None:
    """Read every variant's features under `results`; write the table.

    Probes have one row a variant, attribute ("all" together), layer and metric: `acc`, `control_acc`, `selectivity`.
    """
    rows: list[dict[str, Any]] = []
    twins: set[str] = set()
    for variant in grid.variants():
        hidden, questions = read_features(Path(variant.folder(str(results))) / "features")
        rows += probe_variant(task, variant.row, hidden.numpy(), questions)
        model = variant.cell.model
        if model not in twins:
            twins.add(model)
            rows += _floor(task, model, results / "models" / model, questions)
    table = pandas.DataFrame(rows, columns=list(COLUMNS))
    with atomic_file(output) as temporary:
        table.to_parquet(temporary, index=False)


def _floor(task: str, model: str, folder: Path, questions: list[Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    identity = {"model": model, "label": RANDOM, "method": RANDOM, "level": "full", "seed": 0, "recovery": "none"}
    yield from probe_variant(task, identity, random_features(folder, questions), questions)


def random_features(model_folder: Path, questions: list[Mapping[str, str]], seed: int = 0) -> np.ndarray:
    """Features of a model of the same shape whose weights were drawn and never trained."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from palimpsest.loading import load_tokenizer

    verify_folder(model_folder)
    config = AutoConfig.from_pretrained(model_folder, local_files_only=True, trust_remote_code=False)
    torch.manual_seed(seed)
    twin = AutoModelForCausalLM.from_config(config, trust_remote_code=False, dtype=torch.float32).eval()
    return hidden_states(twin, load_tokenizer(model_folder), [row["question"] for row in questions]).numpy()
