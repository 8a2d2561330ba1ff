"""A decoder and an encoder in one study: trained, fine-tuned, factorized, asked, probed, compared, drawn."""

from __future__ import annotations

import pandas
import pytest
import yaml

STUDY = ("--configfile", "encoder-tiny.yaml")
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.mark.long
def test_a_decoder_and_an_encoder_end_in_one_report(checkout):
    training = {"warmup_steps": 5}
    study = {
        "name": "encoder-tiny",
        "world": {"people": 40, "invented": 40, "documents": 1600, "texts": 32, "questions_per_subset": 16},
        "models": {
            "atlas": {"source": "world", "architecture": SHAPE, "training": training},
            "encoder": {
                "source": "world", "architecture": SHAPE | {"type": "bert"}, "training": training | {"steps": 20},
            },
            "nli": {"source": "fine-tuned", "of": "encoder", "task": "entailment", "training": {"steps": 10}},
        },
        "calibration": {"generic": {"text": "generic", "samples": 8, "length": 32}},
        "compression": {"svd": {"levels": ["k0.8", "k0.6"]}, "svd-llm": {"levels": ["k0.6"]}},
        "recovery": {
            "tuned": {
                "method": "fine-tune", "training": {"text": {"task": "entailment"}, "steps": 5},
                "cells": ["encoder/svd/k0.6", "encoder/dense/full", "nli/svd/k0.6"],
            },
        },
        "tasks": ["closed_book_mc", "entailment", "perplexity"],
        "probes": {
            "attribute_value": {"cells": ["atlas/dense/full", "atlas/svd/k0.6"]},
            "sentences": {"only": ["tree_depth", "past_present"], "rows": 200, "recoveries": False},
            "truth_heads": {"cells": ["atlas/dense/full"], "rows": 100},
        },
        "representation": {
            "texts": 20, "sensitivity": {"cells": ["atlas/svd/k0.6", "nli/svd/k0.6"], "texts": 10},
        },
        "measurement": {"context": [8], "new_tokens": 2, "repeats": 1},
    }  # fmt: skip
    (checkout.folder / "encoder-tiny.yaml").write_text(yaml.safe_dump(study))
    done = checkout.run(*STUDY)
    assert done.returncode == 0, done.stdout[-8000:]
    results = checkout.folder / "results" / "encoder-tiny"
    answers = pandas.read_parquet(results / "answers.parquet")
    asked = answers.groupby(["model", "recovery"])["task"].agg(lambda tasks: sorted(set(tasks))).to_dict()
    assert asked == {
        ("atlas", "none"): sorted(study["tasks"]),
        ("nli", "none"): ["entailment"],
        ("nli", "tuned"): ["entailment"],
        ("encoder", "tuned"): ["entailment"],  # and nothing before it is fine-tuned
    }
    metrics = pandas.read_parquet(results / "metrics.parquet")
    probed = metrics[(metrics["task"] == "tree_depth") & (metrics["metric"] == "acc")]
    assert set(probed["model"]) == {"atlas", "encoder", "nli"} and {"dense", "svd", "random"} <= set(probed["label"])
    assert {"cka", "logit_lens", "sensitivity"} <= set(metrics["scoring"])
    for name in ("report.html", "paper.tex", "figures/probe_rate.pdf", "figures/cka.pdf", "figures/sensitivity.pdf"):
        assert (results / name).stat().st_size > 1000
    assert checkout.planned(*STUDY) == {}
