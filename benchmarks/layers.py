"""One layer: the library, by the functions that the walk uses, against the published algorithms (plain.py)."""

from __future__ import annotations

import plain
import torch
from timing import interleaved, medians, ratio, table
from torch import Tensor

from palimpsest.compression.layer import compress_layer
from palimpsest.compression.statistics import Statistics
from palimpsest.levels import parse, rank_for

WIDTH, TOKENS, REPEATS = 4096, 8192, 2
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

        times = interleaved(REPEATS, uncounted=0, plain=published, ours=ours)
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
            kept["ours"] = [compress_layer("layer", w, statistics.layer("layer"), "svd-llm", level).dense()]

        def published(w=w, statistics=statistics, kept=kept, rank=rank):
            left, right = plain.svd_llm(w, statistics.gram, rank)
            kept["plain"] = [left @ right]

        times = interleaved(REPEATS, uncounted=0, plain=published, ours=solved)
        found.append(_row(f"`svd-llm` k0.8, out {out}, without Gram", times, [w], kept, gram))
    header = "in 4096, 8,192 tokens | plain s | ours s | plain / ours (range) | error plain | error ours"
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
    errors = {
        side: sum(_error(w, found, gram) for w, found in zip(weights, kept[side], strict=True)) / len(weights)
        for side in ("plain", "ours")
    }
    return [
        name, f"{median['plain']:.1f}", f"{median['ours']:.1f}", ratio(times, "plain", "ours"),
        f"{errors['plain']:.6g}", f"{errors['ours']:.6g}",
    ]  # fmt: skip


def _error(w: Tensor, found: Tensor, gram: Tensor) -> float:
    difference, w = (found - w).double(), w.double()
    return (((difference @ gram) * difference).sum() / ((w @ gram) * w).sum()).item()
