"""Peak memory of compressing a model: one block and the activations, whatever the number of layers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import models
from timing import in_a_process, table

HIDDEN, INTERMEDIATE, SAMPLES, LENGTH = 1024, 2816, 8, 512
BLOCK = 4 * (4 * HIDDEN**2 + 3 * HIDDEN * INTERMEDIATE)  # bytes of a block's weights in float32
ACTIVATIONS = 4 * SAMPLES * LENGTH * HIDDEN
CELLS = {"gptq": "4g128", "sparsegpt": "0.5", "wanda": "0.5", "svd-llm": "k0.8", "rtn": "4"}
IMPORTING = """
import json, torch
torch.set_num_threads(1)
import palimpsest.compression.cell, palimpsest.compression.blocks, palimpsest.calibration
from transformers import LlamaForCausalLM
print(json.dumps({}))
"""
COMPRESSING = """
import json, sys, time, torch
torch.set_num_threads(1)
from palimpsest.compression.cell import compress
model, output, calibration, method, level = sys.argv[1:]
started = time.perf_counter()
compress(model, output, method=method, level=level, calibration_folder=calibration or None)
print(json.dumps({"seconds": time.perf_counter() - started}))
"""
LARGE = {"7 B": (4096, 11008, 32), "70 B": (8192, 28672, 80)}  # hidden, intermediate, blocks; 70 B: 8 of 64 key heads


def rows() -> list[str]:
    importing = in_a_process(IMPORTING)["peak"]
    bound = 6 * BLOCK + ACTIVATIONS
    found, above = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibration = models.calibration(folder / "calibration", samples=SAMPLES, length=LENGTH)
        sizes = {
            layers: models.random_llama(folder / str(layers), hidden=HIDDEN, intermediate=INTERMEDIATE, layers=layers)
            for layers in (12, 24)
        }
        for method, level in CELLS.items():
            peaks, seconds = {}, 0.0
            for layers, model in sizes.items():
                rows = "" if method == "rtn" else calibration
                said = in_a_process(COMPRESSING, model, folder / f"{method}-{layers}", rows, method, level)
                peaks[layers], seconds = said["peak"] - importing, said["seconds"]
            blocks = (peaks[24] - ACTIVATIONS) / BLOCK
            above = max(above, blocks)
            kept = "yes" if peaks[24] < bound else "NO"
            found.append(
                [f"`{method}` {level}", _mb(peaks[12]), _mb(peaks[24]), f"{blocks:.1f}", kept, f"{seconds:.0f}"]
            )
    lines = [
        "A random Llama of 24 layers (308 M parameters in blocks, float32 in shards). A block's weights are "
        f"{_mb(BLOCK)} MB, the calibration's activations {_mb(ACTIVATIONS)} MB. MB above what importing costs "
        f"({_mb(importing)} MB). The bound is six blocks' weights and the activations: {_mb(bound)} MB.",
        "",
        *table("method | 12 layers | 24 layers | in blocks' weights | within | s", found),
        "",
        f"By the same {above:.1f} blocks' weights in float32, and 128 rows of 2,048 tokens (computed, not measured):",
        "",
    ]
    large = []
    for name, (hidden, intermediate, blocks) in LARGE.items():
        keys = hidden if name == "7 B" else hidden // 8
        block = 4 * (2 * hidden**2 + 2 * hidden * keys + 3 * hidden * intermediate)
        activations = 4 * 128 * 2048 * hidden
        large.append([name, blocks, f"{block / 1e9:.1f}", f"{activations / 1e9:.1f}",
                      f"{(above * block + activations) / 1e9:.0f}"])  # fmt: skip
    return lines + table("model | blocks | a block's weights, GB | activations, GB | peak above importing, GB", large)


def _mb(count: float) -> str:
    return f"{count / 1e6:,.0f}"
