"""Four levels of one method from dense inputs in one walk, against one level; in this process, imports apart.

The clock is the CPU time of the one thread: what else the machine does is not in it.
"""

from __future__ import annotations

import tempfile
import time
from itertools import product
from pathlib import Path

import models
import torch
from timing import interleaved, medians, ratio, table

from palimpsest.compression.cell import compress

LEVELS = {
    "gptq": ["4", "3", "2", "4g128"],
    "sparsegpt": ["0.5", "0.3", "0.6", "2:4"],
    "wanda": ["0.5", "0.3", "0.6", "2:4"],
    "svd-llm": ["k0.8", "k0.9", "k0.7", "k0.6"],
}
SAMPLES, LENGTH = (64, 256), 128  # the second is an eighth of what the papers calibrate on


def rows() -> list[str]:
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = models.random_llama(folder / "model", hidden=512, intermediate=1408, layers=2)
        calibrations = {
            samples: models.calibration(folder / f"calibration-{samples}", samples=samples, length=LENGTH)
            for samples in SAMPLES
        }
        for (method, levels), samples in product(LEVELS.items(), SAMPLES):

            def walk(count, method=method, levels=levels, samples=samples):
                outputs = [folder / f"{method}-{i}" for i in range(count)]
                compress(model, outputs, method=method, level=levels[:count],
                         calibration_folder=calibrations[samples], propagate=False)  # fmt: skip

            times = interleaved(5, clock=time.process_time, four=lambda: walk(4), one=lambda: walk(1))
            median = medians(times)
            row = [f"`{method}` {', '.join(levels)}", f"{samples * LENGTH:,}", f"{median['one']:.1f}"]
            found.append([*row, f"{median['four']:.1f}", ratio(times, "four", "one")])
    return table("two blocks of width 512 | tokens | one level, CPU s | four levels, CPU s | four / one (range)", found)
