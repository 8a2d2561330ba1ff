"""How far a variant's predictions are from the dense model's on the same tokens: KL(dense || variant).

Σ p (log p − log q) over the vocabulary, in nats, mean over the tokens of a text; p and q are what the two models expect
at that token after the same ones. Both run the same small batches, one after another, so the logits of one batch are
all that is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from palimpsest.evaluation.forward import Forward
from palimpsest.evaluation.plan import ALL, Row, alone, cut
from palimpsest.evaluation.tokens import Pair


@dataclass(frozen=True)
class Reference:
    """The dense model: the digest of its folder, and how to load it; None if it is the very model that is asked."""

    digest: str
    load: Callable[[], object] | None


def divergences(dense: Forward, variant: Forward, texts: Sequence[Sequence[Pair]]) -> list[float]:
    """For each text, given as its windows of (context, continuation), the mean in nats a token of its continuations."""
    windows = {window: Row((window[0] + window[1])[:-1], len(window[0]) - 1) for text in texts for window in text}
    # A variant that chooses a soft prompt does so by the window's own tokens, as where its likelihood is asked for.
    chosen = dict(zip(windows.values(), variant.choices([row.tokens for row in windows.values()]), strict=True))
    sums: dict[Row, float] = {}
    half = max(1, variant.tokens // 2)  # two models' logits
    for batch in cut(alone(windows.values()), tokens=half, rows=variant.rows_at_most):
        rows = [node.row for _, node in batch]
        expected = _logits(dense, rows)
        found = _logits(variant, [replace(row, prompt=chosen[row].prompt) for row in rows])
        for row, logits in found.items():
            row = replace(row, prompt=ALL)
            sums[row] = _divergence(expected.pop(row), logits)
    return [
        sum(sums[windows[window]] for window in text) / max(1, sum(len(window[1]) for window in text)) for text in texts
    ]


def _logits(forward: Forward, rows: Sequence[Row]) -> dict[Row, Tensor]:
    found = {}
    for nodes, logits in forward.logits(rows, share=False):
        parts = logits.split([node.end - node.first for node in nodes])
        found.update(zip((node.row for node in nodes), parts, strict=True))
    return found


def _divergence(dense: Tensor, variant: Tensor) -> float:
    p, q = dense.float().log_softmax(-1), variant.float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).double().sum().item()
