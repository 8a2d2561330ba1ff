"""Fixtures that several test files share: a tiny random Llama, its tokenizer, its calibration rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_models import SPECIAL, WORDS, make_model_folder, make_tokenizer

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def make_tiny_model():
    """`make_model_folder(folder, seed=0, **changes)`, for tests that want another random Llama than the shared one."""
    return make_model_folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory) -> Path:
    """The dense folder of a random Llama: hidden 32, 2 layers, 4 heads (2 of keys and values), vocabulary of words."""
    return make_model_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_calibration_folder(tmp_path_factory) -> Path:
    """An artifact folder as `calibrate` writes it: 24 right-padded rows of up to 16 tokens."""
    import torch
    from safetensors.torch import save_file

    from palimpsest.provenance import atomic_folder, write_json

    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 17, (24,), generator=generator)
    rows = torch.randint(4, len(SPECIAL + WORDS), (24, 16), generator=generator)
    rows[:, 0] = 1
    rows[torch.arange(16) >= lengths[:, None]] = 0
    folder = tmp_path_factory.mktemp("calibration") / "s0"
    with atomic_folder(folder) as temporary:
        save_file({"input_ids": rows, "lengths": lengths}, temporary / "tokens.safetensors")
        write_json(temporary / "calibration.json", {"samples": 24, "length": 16, "seed": 0, "text": "random words"})
    return folder
