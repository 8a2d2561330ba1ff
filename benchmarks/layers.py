"""One layer: the library, by the functions that the walk uses, against the published algorithms (plain.py).

The clock is the CPU time of the one thread.
"""

from __future__ import annotations

import time

import plain
import torch
from scipy import stats
from timing import interleaved, medians, ratio, table
from torch import Tensor

from palimpsest.compression.layer import compress_layer
from palimpsest.compression.statistics import Statistics
from palimpsest.levels import parse, rank_for

WIDTH, TOKENS, REPEATS = 4096, 8192, 3
QKV = (4096, 1024, 1024)  # rows of the queries, keys and values of Llama 3 8B and of Mistral 7B


def rows() -> list[str]:
    torch.set_num_threads(1)
    x, weights = inputs(), [weight(out, seed) for seed, out in enumerate(QKV)]
    gram = sum((part.double().T @ part.double() for part in x.split(1024)), torch.zeros(1, dtype=torch.float64))
    found = []
    for name, level, theirs in (
        ("gptq", "4g128", lambda w: plain.gptq(w, x, 4, 128)),
        ("sparsegpt", "0.5", lambda w: plain.sparsegpt(w, x, 0.5)),
    ):
        kept: dict[str, list[Tensor]] = {}

        def ours(name=name, level=level, kept=kept):
            statistics = Statistics(WIDTH, "q, k, v", ("gram",))
            for row in x.split(2048):
                statistics.add(row)
            kept["ours"] = [
                compress_layer(f"layer {i}", w, statistics.layer(f"layer {i}"), name, parse(level)).dense()
                for i, w in enumerate(weights)
            ]

        def published(theirs=theirs, kept=kept):
            kept["plain"] = [theirs(w) for w in weights]

        times = interleaved(REPEATS, uncounted=0, clock=time.process_time, plain=published, ours=ours)
        found.append(
            _row(f"`{name}` {level}, q k v ({', '.join(map(str, QKV))}), Gram included", times, weights, kept, gram)
        )
    for out in (4096, 1024):
        w, level = weight(out, 4), parse("k0.8")
        rank = rank_for(out, WIDTH, level)
        statistics = Statistics(WIDTH, "layer", ("gram",))
        for row in x.split(2048):
            statistics.add(row)
        kept = {}

        def solved(w=w, statistics=statistics, kept=kept, level=level):
            statistics._shared.clear()  # a factorization from the turn before
            statistics._layers.clear()
            kept["ours"] = [compress_layer("layer", w, statistics.layer("layer"), "svd-llm", level)]

        def published(w=w, statistics=statistics, kept=kept, rank=rank):
            kept["plain"] = [plain.svd_llm(w, statistics.gram, rank)]

        times = interleaved(REPEATS, uncounted=0, clock=time.process_time, plain=published, ours=solved)
        kept["ours"] = [found.dense() for found in kept["ours"]]
        kept["plain"] = [left @ right for left, right in kept["plain"]]
        found.append(_row(f"`svd-llm` k0.8, out {out}, without Gram", times, [w], kept, gram))
    header = "in 4096, 8,192 tokens | plain s | ours s | plain / ours (range) | error plain | ours larger by [95 %]"
    return table(header, found)


def inputs() -> Tensor:
    """Correlated inputs with outlier channels, (TOKENS, WIDTH)."""
    draws = torch.Generator().manual_seed(0)
    latent = torch.randn(TOKENS, WIDTH // 4, generator=draws) * torch.arange(1, WIDTH // 4 + 1) ** -0.5
    x = latent @ torch.randn(WIDTH // 4, WIDTH, generator=draws) + 0.3 * torch.randn(TOKENS, WIDTH, generator=draws)
    return x * torch.exp(0.5 * torch.randn(WIDTH, generator=draws))


def weight(out: int, seed: int) -> Tensor:
    return 0.02 * torch.randn(out, WIDTH, generator=torch.Generator().manual_seed(seed))


def _row(name: str, times: dict, weights: list[Tensor], kept: dict[str, list[Tensor]], gram: Tensor) -> list[object]:
    median = medians(times)
    plain, ours = (
        torch.cat([_errors(w, found, gram) for w, found in zip(weights, kept[side], strict=True)])
        for side in ("plain", "ours")
    )
    larger = ours / plain - 1
    half = stats.t.ppf(0.975, len(larger) - 1) * larger.std().item() / len(larger) ** 0.5
    return [
        name, f"{median['plain']:.1f}", f"{median['ours']:.1f}", ratio(times, "plain", "ours"),
        f"{plain.mean():.3g}", f"{larger.mean():+.5%} [{larger.mean() - half:+.5%}, {larger.mean() + half:+.5%}]",
    ]  # fmt: skip


def _errors(w: Tensor, found: Tensor, gram: Tensor, rows: int = 256) -> Tensor:
    """‖(W' - W)X‖² / ‖WX‖² of each run of rows: how far the arithmetic moves an error by chance, they tell."""
    difference, w = (found - w).double(), w.double()
    lost, whole = (((part @ gram) * part).sum(1).view(-1, rows).sum(1) for part in (difference, w))
    return lost / whole
