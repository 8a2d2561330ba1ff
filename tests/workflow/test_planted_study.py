"""Planted models in a study: made, recovered, measured against what was planted, and drawn."""

from __future__ import annotations

import json

import pandas
import pytest
import yaml

STUDY = ("--configfile", "planted-tiny.yaml")


@pytest.mark.long
def test_planted_models_of_a_study_end_in_a_figure(checkout):
    study = yaml.safe_load((checkout.folder / "studies" / "tiny.yaml").read_text())
    training = {"text": "recovery_R", "validation": "recovery_V", "steps": 2, "batch_size": 8}
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    mix = {"biographies": 0.6, "questions": 0.3, "passages": 0.05, "prose": 0.05}
    study |= {
        "name": "planted-tiny",
        "world": study["world"] | {"people": 60, "documents": 12800, "mix": mix},
        "models": {
            "atlas": {
                "source": "world", "architecture": shape, "training": {"batch_size": 16, "learning_rate": 3e-3},
                "compress": False,
            },
            "fork": {"source": "forked", "of": "atlas", "half": "b"},
            "displaced": {"source": "displaced", "of": "fork", "reflections": 4},
            "locked": {"source": "locked", "of": "fork", "password": 2, "steps": 2, "batch_size": 8},
        },
        "compression": {}, "calibration": {}, "probes": [], "tasks": ["closed_book", "closed_book_mc"],
        "recovery": {
            "prompt-2": {
                "method": "prompt", "options": {"tokens": 2}, "training": training,
                "cells": ["fork/dense/full", "displaced/dense/full"],
            },
        },
    }  # fmt: skip
    (checkout.folder / "planted-tiny.yaml").write_text(yaml.safe_dump(study))
    done = checkout.run(*STUDY)
    assert done.returncode == 0, done.stdout[-8000:]
    results = checkout.folder / "results" / "planted-tiny"
    sources = {name: json.loads((results / "models" / name / "source.json").read_text()) for name in study["models"]}
    for name in ("displaced", "locked"):
        assert sources[name]["of_source"]["erased"] == sources["fork"]["erased"] != []
    metrics = pandas.read_parquet(results / "metrics.parquet")
    planted = metrics[metrics["metric"] == "planted_truth"]
    shares = planted.groupby("model")["subset"].nunique().to_dict()
    assert shares == {"fork": 1, "displaced": 5} and set(planted["recovery"]) == {"prompt-2"}
    assert (results / "figures" / "planted.pdf").stat().st_size > 1000
