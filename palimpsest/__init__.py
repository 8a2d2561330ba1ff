"""Palimpsest: what compression takes from a language model, and what of it was only displaced.

The public interface is five names, handed on lazily so that `import palimpsest` costs milliseconds:

    compress_weight(weight, inputs, method, level, seed=0, **options)    one matrix
    load(directory, device="cpu")                                        a dense, compressed or recovered folder
    evaluate(model, tokenizer, tasks, data)                              a table with a row a question
    lm(model, tokenizer)                                                 a language model for lm_eval
    methods()                                                            what there is to choose from
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOMES = {
    "compress_weight": "palimpsest.compression.layer",
    "load": "palimpsest.loading",
    "evaluate": "palimpsest.evaluation",
    "lm": "palimpsest.evaluation",
    "methods": "palimpsest.compression.registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'palimpsest' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
