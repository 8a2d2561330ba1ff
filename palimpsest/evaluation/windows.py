"""Perplexity by the papers' windowing (GPTQ, SparseGPT, Wanda): a corpus in windows that do not overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from palimpsest.evaluation.language_model import LanguageModel
from palimpsest.provenance import PalimpsestError


def cut(
    corpora: Sequence[Mapping[str, Any]], task: str, settings: Mapping[str, Any], language_model: LanguageModel
) -> list[dict[str, Any]]:
    """A row a window of `window` tokens, with its `tokens`, of which the first is not scored; at most `windows`.

    The tokenizer adds its special tokens once, before the corpus; what is left after the last whole window is dropped.
    Raises PalimpsestError where a window exceeds the model's context or the corpus is shorter than one.
    """
    length = settings["window"]
    if length > language_model.max_length:
        raise PalimpsestError(
            f"task {task}: a window has {length} tokens, and the model's context {language_model.max_length}. "
            f"In the study, write `data: {{{task}: {{window: {language_model.max_length}}}}}`."
        )
    rows = []
    for corpus in corpora:
        tokens = language_model.tok_encode(corpus["text"])
        starts = range(0, len(tokens) - length + 1, length)[: settings.get("windows")]
        if not starts:
            raise PalimpsestError(
                f"task {task}: {corpus['id']} has {len(tokens)} tokens, fewer than one window of {length}."
            )
        for number, start in enumerate(starts):
            window = tokens[start : start + length]
            text = language_model.tok_decode(window[1:])
            rows.append({"id": f"{corpus['id']}/{number}", "subset": corpus["subset"], "text": text, "tokens": window})
    return rows
