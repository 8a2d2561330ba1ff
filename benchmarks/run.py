"""Measure what the README claims of speed; writes benchmarks/README.md. Run by `make bench`.

Each figure is a median over interleaved repetitions in one run; times of one machine are not those of another, so where
two things are compared the ratio is what counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1")
ROOT = Path(__file__).parents[1]
REPEATS = 5
ATLAS = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(**works: Callable[[], object]) -> dict[str, list[float]]:
    """Times of each piece of work, in turns, after one turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(REPEATS + 1):
        for name, work in works.items():
            spent = seconds(work)
            if turn:
                times[name].append(spent)
    return times


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)


def starting() -> list[str]:
    """What it costs to start: the public interface, the checks of a study, a dry run."""
    python = sys.executable
    times = interleaved(
        **{
            "python -c pass": command(python, "-c", "pass"),
            "import palimpsest": command(python, "-c", "import palimpsest"),
            "check config.yaml": command(python, "-m", "palimpsest.settings", "config.yaml"),
            "dry run of the embedded study": command(python, "-m", "snakemake", "--cores", "1", "-n", "--quiet", "all"),
        }
    )
    rows = ["| command | median s | min | max |", "| --- | ---: | ---: | ---: |"]
    return rows + [
        f"| {name} | {statistics.median(spent):.2f} | {min(spent):.2f} | {max(spent):.2f} |"
        for name, spent in times.items()
    ]


def answering(folder: Path) -> list[str]:
    """Our engine against lm-eval's HFLM: the same model (random weights, Atlas's shape), questions and thread."""
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    import palimpsest
    from palimpsest.evaluation.data import write_task
    from palimpsest.evaluation.harness import ask
    from palimpsest.settings import Architecture, World
    from palimpsest.world.build import build
    from palimpsest.world.training import new_model

    class Peer(HFLM):
        """HFLM, which does not count the tokens that our rows have a column for."""

        def loglikelihood(self, requests, **options):
            for request in requests:
                request.scored_tokens = 0
            return super().loglikelihood(requests, **options)

        def loglikelihood_rolling(self, requests, **options):
            for request in requests:
                request.scored_tokens = 0
            return super().loglikelihood_rolling(requests, **options)

    torch.set_num_threads(1)
    build(World(people=60, documents=64, texts=40, questions_per_subset=100), folder / "world")
    tokenizer = AutoTokenizer.from_pretrained(folder / "world" / "tokenizer")
    model = new_model(Architecture(**ATLAS), len(tokenizer), torch.arange(4, 364), seed=0).eval()
    rows = [
        "| task | questions | HFLM s | ours s | HFLM / ours | same answers |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for task in ("closed_book", "closed_book_mc", "open_book", "entailment", "perplexity"):
        write_task(task, folder / task, world=folder / "world")
        kept: dict[str, object] = {}

        def ours(task=task, kept=kept):
            kept["ours"] = ask(palimpsest.lm(model, tokenizer), [folder / task])

        def theirs(task=task, kept=kept):
            # The same path through lm-eval, with its own model in the place of ours.
            engine = Peer(pretrained=model, tokenizer=tokenizer, batch_size=32)
            kept["theirs"] = ask(engine, [folder / task])

        times = interleaved(theirs=theirs, ours=ours)
        a, b = (statistics.median(times[name]) for name in ("theirs", "ours"))
        same = kept["ours"]["answer"].equals(kept["theirs"]["answer"])
        rows.append(f"| {task} | {len(kept['ours'])} | {a:.2f} | {b:.2f} | {a / b:.1f} | {'yes' if same else 'NO'} |")
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = [
            "# Benchmarks",
            "",
            f"Written by `make bench`. Medians of {REPEATS} interleaved repetitions, one thread.",
            "",
            "## Starting",
            "",
            *starting(),
            "",
            "## Answering, against lm-eval's HFLM",
            "",
            *answering(Path(folder)),
        ]
    text = "\n".join(page) + "\n"
    (ROOT / "benchmarks" / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
