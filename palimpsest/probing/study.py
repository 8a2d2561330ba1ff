"""All variants of a study, and for each dense model a twin with random weights, into `probes.parquet`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas

from palimpsest.probing.features import hidden_states, read_features
from palimpsest.probing.probes import COLUMNS, Read, metric_rows, read_variant
from palimpsest.provenance import atomic_file, verify_folder

if TYPE_CHECKING:
    from palimpsest.grid import Grid

RANDOM = "random"  # label and method of the twin with random weights


ANSWERS = "probe_answers.parquet"  # beside the table


def probe(results: Path, grid: Grid, task: str, output: Path) -> None:
    """Read every variant's features under `results`; write the table, and beside it what the probes said.

    Probes have one row a variant, attribute ("all" together), layer and metric: `acc`, `control_acc`, `selectivity`.
    """
    rows: list[dict[str, Any]] = []
    said: list[pandas.DataFrame] = []
    twins: set[str] = set()
    for variant in grid.variants():
        hidden, questions = read_features(Path(variant.folder(str(results))) / "features")
        read = read_variant(hidden.numpy(), questions)
        rows += metric_rows(task, variant.row, read)
        said.append(_answers(read, questions).assign(**variant.row, task=task))
        model = variant.cell.model
        if model not in twins:
            twins.add(model)
            twin = random_features(results / "models" / model, questions)
            rows += metric_rows(task, _identity(model), read_variant(twin, questions))
    for path, table in (
        (output, pandas.DataFrame(rows, columns=list(COLUMNS))),
        (output.with_name(ANSWERS), pandas.concat(said, ignore_index=True)),
    ):
        with atomic_file(path) as temporary:
            table.to_parquet(temporary, index=False)


def _answers(read: list[Read], questions: list[Mapping[str, str]]) -> pandas.DataFrame:
    """layer, person, attribute, value, and what the probe said."""
    parts = [
        pandas.DataFrame({
            "layer": each.layer,
            "person": [questions[number]["person"] for number in each.numbers],
            "attribute": each.attribute,
            "value": [questions[number]["value"] for number in each.numbers],
            "said": each.said,
        })
        for each in read
    ]  # fmt: skip
    return pandas.concat(parts, ignore_index=True)


def _identity(model: str) -> dict[str, Any]:
    return {"model": model, "label": RANDOM, "method": RANDOM, "level": "full", "seed": 0, "recovery": "none"}


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
