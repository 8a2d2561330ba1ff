"""Evaluation: the lm-eval model, the answer cache, the task files, and the rows they become."""

from __future__ import annotations

__all__ = ["evaluate", "lm"]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'palimpsest.evaluation' has no attribute {name!r}")
    from palimpsest.evaluation import harness

    return getattr(harness, name)
