"""Every trained method on a real checkpoint and a real text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from palimpsest.compression.cell import compress
from palimpsest.finetuning.loop import mean
from palimpsest.loading import load
from palimpsest.recovery.documents import pad, read_documents
from palimpsest.recovery.objectives import next_token
from palimpsest.recovery.train import recover

DATA = os.environ.get("PALIMPSEST_DATA")
pytestmark = pytest.mark.skipif(
    not DATA or not Path(DATA, "models/stories260K").is_dir() or not Path(DATA, "data/tinystories").is_dir(),
    reason="PALIMPSEST_DATA has no models/stories260K and data/tinystories",
)

# How far each comes in a few steps differs; what is asked is that it comes nearer to stories that it has not read.
METHODS = {
    "lora": ({"rank": 4}, 5e-3),
    "dora": ({"rank": 4}, 5e-3),
    "qlora": ({"rank": 4}, 5e-3),
    "distill": ({"rank": 4}, 5e-3),
    "prompt": ({"tokens": 8}, 3e-2),
    "p-tuning": ({"tokens": 8}, 5e-3),
    "prefix": ({"tokens": 4}, 3e-2),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of two cells and of two texts: the first words of some stories, and of others."""
    folder, model = tmp_path_factory.mktemp("stories"), Path(DATA, "models/stories260K")
    compress(model, folder / "magnitude", method="magnitude", level="0.6")
    compress(model, folder / "rtn", method="rtn", level="3")
    lines = Path(DATA, "data/tinystories/tinystories.txt").read_text(encoding="utf-8").split("\n")
    stories = [" ".join(line.split()[:24]) for line in lines if len(line.split()) >= 24]
    (folder / "train.txt").write_text("\n".join(stories[16:80]), encoding="utf-8")
    (folder / "validation.txt").write_text("\n".join(stories[:16]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_recovery_of_a_real_checkpoint_lowers_the_loss_on_stories_that_it_has_not_read(made, tmp_path, method):
    cell = made / ("rtn" if method == "qlora" else "magnitude")
    options, rate = METHODS[method]
    texts = {"text": made / "train.txt", "validation": made / "validation.txt"}
    settings = {"steps": 12, "batch_size": 4, "learning_rate": rate, "validate_every": 6}
    recovery = recover(cell, tmp_path / "adapter", method=method, options=options, **texts, **settings)
    started = float((tmp_path / "adapter" / "curve.csv").read_text().splitlines()[1].split(",")[2])
    assert recovery["validation_loss"] < started - 0.03 and recovery["best_step"] == 12
    attached, tokenizer = load(tmp_path)
    assert attached.config.num_key_value_heads < attached.config.num_attention_heads  # keys of a prefix are fewer too
    if method not in ("distill", "qlora"):
        rows = sorted(read_documents(texts["validation"], tokenizer, 400), key=len)
        assert mean(next_token, attached, [pad(rows, 0)]) == pytest.approx(recovery["validation_loss"], rel=1e-4)
    ids = torch.tensor([tokenizer("Once upon a time").input_ids])
    assert attached(input_ids=ids).logits.isfinite().all()
