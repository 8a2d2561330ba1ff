"""Measure what the project claims of speed, memory and size; run by `make bench`.

    python benchmarks/run.py                     all sections
    python benchmarks/run.py layers sweep        these; the others keep their last results

Each section is a module with `rows()`, which returns Markdown. Its last result lies in benchmarks/measured, and
benchmarks/README.md is made of them all. Times of one machine are not those of another: what counts are ratios, of
works that were measured in turns in one run.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys

os.environ.update(
    OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1"
)

from timing import ROOT

RESULTS = ROOT / "benchmarks" / "measured"
SECTIONS = {
    "starting": "Starting",
    "layers": "One layer, against the published algorithms",
    "sweep": "Four levels in one walk",
    "memory": "Peak memory",
    "disk": "Bytes of an artifact",
    "peers": "Against llmcompressor",
    "answering": "Answering, against lm-eval's HFLM",
    "idp": "Choosing a soft prompt",
    "recovery_latency": "Prompts, prefixes and LoRA, in time",
}


def main(names: list[str]) -> None:
    if unknown := [name for name in names if name not in SECTIONS]:
        sys.exit(f"There is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}.")
    RESULTS.mkdir(exist_ok=True)
    for name in names or SECTIONS:
        print(f"{name} …", flush=True)
        lines = importlib.import_module(name).rows()
        (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("\n".join(lines), flush=True)
    write_page()


def write_page() -> None:
    """benchmarks/README.md, from the last result of each section."""
    page = [
        "# Benchmarks",
        "",
        "Written by `make bench` (one section: `make bench SECTIONS=layers`). Medians over interleaved repetitions in "
        f"one run, one thread, {platform.machine()} with {os.cpu_count()} shared cores: ratios count, seconds do not.",
    ]
    for name, title in SECTIONS.items():
        if (RESULTS / f"{name}.md").exists():
            page += ["", f"## {title}", "", (RESULTS / f"{name}.md").read_text(encoding="utf-8").rstrip()]
    (ROOT / "benchmarks" / "README.md").write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
