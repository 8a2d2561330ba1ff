"""Made-up metrics of soft prompts of several lengths and of choosing among them. Nothing here was measured."""

from __future__ import annotations

from pathlib import Path

import pandas
import presentation_example as example

LENGTHS = {"prompt-1": 1, "prompt-4": 4, "prompt-4-again": 4, "prompt-32": 32, "prompt-untrained": 32}
CHOOSING = {"idp": "default", "idp-mean": "choose: mean of all", "idp-random": "choose: random"}
CELLS = {("magnitude", "0.6"): 0.2, ("rtn", "2"): 0.4, ("dense", "full"): 0.0}
NOTHING = float("nan")


def metrics(gain: float = 0.004, slope: float = 0.001, factor: float = 0.98) -> pandas.DataFrame:
    """Two cells and the dense model, with prompts of three lengths, one of them trained from two seeds, one not at all.

    gain: of the default choice over the best prompt, half of whose interval is 0.012. slope: points of closed book that
    a doubling of the length adds, half of the interval 0.004. factor: what it multiplies perplexities by.
    """
    rows = []
    for (label, level), damage in CELLS.items():
        cell = ("atlas", label, label, level, 0)

        def add(recovery, task, subset, metric, value, half=0.01, cell=cell):
            rows.append([*cell, recovery, task, subset, "", "", metric, value, value - half, value + half, 300])

        for recovery in ("none", *LENGTHS, *CHOOSING):
            n = LENGTHS.get(recovery, 1)
            right = 0.97 - damage * (1 if recovery == "none" else 0.8) + 0.005 * n**0.5
            for task, metric in (("closed_book", "exact_match"), ("closed_book_mc", "acc")):
                add(recovery, task, "all", metric, right - 0.05)
                add(recovery, task, "shown", metric, right)
                add(recovery, task, "all", "difference", right - 0.97)
            for pool in "RU":
                add(recovery, "closed_book", f"pool {pool}", "known_share", right - 0.02)
            for kind, base in (("all", 5.0), ("biographies", 4.0), ("prose", 9.0)):
                add(recovery, "perplexity", kind, "perplexity", base * (1 + damage) * factor ** (n**0.5), 0.1)
            if recovery in LENGTHS:
                add(recovery, "", "", "prompt_tokens", float(n), NOTHING)
            if recovery != "none":
                add(recovery, "", "untrained" if recovery == "prompt-untrained" else "text", "arm", 0.0, NOTHING)
        add("none", "closed_book", "shown", "per_doubling", slope, 0.004)
        for kind in ("biographies", "prose"):
            add("none", "perplexity", kind, "perplexity_per_doubling", factor, 0.01)
        for place, (recovery, how) in enumerate(CHOOSING.items()):
            add(recovery, "", how, "choosing", NOTHING, NOTHING)
            add(recovery, "closed_book", "shown", "idp_gain", gain - 0.02 * place, 0.012)
            if recovery != "idp-mean":
                for prompt, share in (("prompt-4", 0.3), ("prompt-32", 0.7)):
                    add(recovery, "closed_book", prompt, "choice_share", share)
    columns = [*example.VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
    return pandas.DataFrame(rows, columns=columns)


def write(folder: Path, without: tuple[str, ...] = (), **changes: float) -> Path:
    """Metrics, less those of some recoveries, and sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    table = metrics(**changes).query("recovery not in @without")
    table.to_parquet(folder / "metrics.parquet")
    variants = table[example.VARIANT].drop_duplicates()
    variants.assign(metric="parameters_extra", value=64.0).to_parquet(folder / "measurements.parquet")
    return folder
