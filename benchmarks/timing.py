"""How the benchmarks measure: medians over interleaved repetitions in one run; what counts are ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REPEATS = 5


def interleaved(
    repeats: int = REPEATS, uncounted: int = 1, clock: Callable[[], float] = time.perf_counter, **works: Callable
) -> dict[str, list[float]]:
    """Seconds of each work by the clock, in turns, after some that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(uncounted + repeats):
        for name, work in works.items():
            started = clock()
            work()
            if turn >= uncounted:
                times[name].append(clock() - started)
    return times


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(spent) for name, spent in times.items()}


def ratio(times: Mapping[str, list[float]], over: str, under: str, decimals: int = 1) -> str:
    """The median of the ratios turn by turn, and their range."""
    found = sorted(a / b for a, b in zip(times[over], times[under], strict=True))
    middle, low, high = (f"{value:.{decimals}f}" for value in (statistics.median(found), found[0], found[-1]))
    return f"{middle} ({low} to {high})"


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)


def in_a_process(code: str, *arguments: object, python: str = sys.executable) -> dict[str, Any]:
    """Run `code`, which prints JSON in its last line, in a process of its own; adds its peak memory in bytes."""
    # Not ru_maxrss, which after a fork is at least what the parent had.
    tail = "\nprint(*(1024 * int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-c", code + tail, *map(str, arguments)],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    *_, said, peak = done.stdout.strip().splitlines()
    return json.loads(said) | {"peak": int(peak)}


def table(header: str, rows: list[list[object]]) -> list[str]:
    """A Markdown table; the first column is text, the others are numbers."""
    names = header.split(" | ")
    lines = [f"| {header} |", "| --- |" + " ---: |" * (len(names) - 1)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]
