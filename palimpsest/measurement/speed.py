"""Latency of a forward pass, and the memory that loading and a first pass take."""

from __future__ import annotations

import os
import struct
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from palimpsest.evaluation.forward import Forward


@torch.inference_mode()
def latency(
    forward: Forward, tokens: Sequence[int], new_tokens: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Milliseconds of the prefill of `tokens`, and of one generated token (mean of `new_tokens`).

    What is timed is the evaluation's own engine, the same loop for every variant: keys and values of a soft prompt are
    there before, the choice among several is part of the prefill, and the vocabulary is projected at the last token.
    """
    forward.chosen.clear()
    started = clock()
    logits, kept = forward.prefill(tuple(tokens))
    logits.argmax(-1).tolist()  # an accelerator has then done what it was given
    prefilled = clock()
    forward.decode(logits, kept, lambda _: False, new_tokens + 1)
    ended = clock()
    return 1e3 * (prefilled - started), 1e3 * (ended - prefilled) / max(1, new_tokens)


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds of the one thread that computes, which another job beside it changes little; else those of the wall."""
    return time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def interleaved(measures: Sequence[Callable[[], tuple[float, float]]], repeats: int) -> list[list[tuple[float, float]]]:
    """Run all measures in turn, `repeats` times after a first round that does not count, each round from another start.

    A machine that slows down for a while then slows all variants, not one.
    """
    found: list[list[tuple[float, float]]] = [[] for _ in measures]
    for turn in range(repeats + 1):
        for step in range(len(measures)):
            number = (step + turn * max(1, len(measures) // (repeats + 1))) % len(measures)
            result = measures[number]()
            if turn:
                found[number].append(result)
    return found


def peak_memory(work: Callable[[], object], warm_up: Callable[[], object] | None = None) -> int | None:
    """Bytes by which the resident memory of a process grows at its highest while it does `work`.

    The process is a fork of this one, so libraries that are imported already do not count, nor does what `warm_up`
    brings in first (a fork maps the pages of libraries anew when it uses them). Linux only; elsewhere None.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if warm_up is not None:
                warm_up()
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
            before = _status("VmRSS")
            kept = work()
            os.write(writer, struct.pack("q", max(0, _status("VmHWM") - before)))
            del kept
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise ChildProcessError(f"the process whose memory is measured ended with status {status}")
    return struct.unpack("q", answer)[0]


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
