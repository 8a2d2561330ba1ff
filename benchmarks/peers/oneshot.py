"""One compression by llmcompressor, in its own environment: oneshot.py MODEL TOKENS METHOD OUTPUT; prints JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from llmcompressor.modifiers.quantization import GPTQModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

# The same as ours: the blocks' matrices and not the head (by name: the pruning modifiers prune a tied head whatever
# `ignore` says), 4 bits with a scale and a zero a row, half of the weights of a row or of 128 columns, damping 0.01.
BLOCKS = ["re:.*_proj$"]
WEIGHTS = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "channel"}
RECIPES = {
    "gptq": lambda: GPTQModifier(
        config_groups={"all": {"targets": BLOCKS, "weights": WEIGHTS}}, dampening_frac=0.01, actorder=None
    ),
    "sparsegpt": lambda: SparseGPTModifier(sparsity=0.5, mask_structure="0:0", targets=BLOCKS),
    "wanda": lambda: WandaPruningModifier(sparsity=0.5, mask_structure="0:0", targets=BLOCKS),
}


def main(source: str, tokens: str, method: str, output: str) -> None:
    torch.set_num_threads(1)
    rows = load_file(tokens)["input_ids"]
    started = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    names = set(model.state_dict())
    data = Dataset.from_dict({"input_ids": rows.tolist(), "attention_mask": torch.ones_like(rows).tolist()})
    oneshot(
        model=model, dataset=data, recipe=RECIPES[method](), max_seq_length=rows.shape[1],
        num_calibration_samples=len(rows), shuffle_calibration_samples=False,
    )  # fmt: skip
    folder = Path(output)
    folder.mkdir()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name in names}
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    seconds = time.perf_counter() - started
    for file in Path(source).glob("*.json"):
        if "safetensors" not in file.name:
            shutil.copyfile(file, folder / file.name)
    print(json.dumps({"seconds": seconds, "cpu": time.process_time()}))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(*sys.argv[1:])
