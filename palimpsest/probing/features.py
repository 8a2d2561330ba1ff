"""Hidden states at the last token of a question: what the probes read.

An artifact folder: `features.safetensors` with `hidden` (layers + 1, questions, width) in float16, layer 0 being the
embeddings, and `questions.jsonl` with the rows asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from palimpsest.evaluation.plan import Row, alone, cut
from palimpsest.provenance import PalimpsestError, atomic_folder, verify_folder

TOKENS_A_BATCH = 4096


@torch.inference_mode()
def hidden_states(model, tokenizer, questions: Sequence[str]) -> Tensor:
    """(layers + 1, questions, width), float16. A soft prompt stands before the question, as in evaluation."""
    tokens = [tuple(row) for row in tokenizer(list(questions), return_attention_mask=False)["input_ids"]]
    # A wrapper such as peft's prompt may hold back `hidden_states`: they are taken where they arise.
    found: dict[tuple[int, ...], Tensor] = {}
    device = next(model.parameters()).device
    for batch in cut(alone(Row(row, len(row) - 1) for row in tokens), tokens=TOKENS_A_BATCH):
        rows = [node.row for _, node in batch]
        length = max(len(row.tokens) for row in rows)
        # Padding is on the right, where causal attention never looks; the mask is for what chooses by all tokens.
        padded = [[*row.tokens, *(0,) * (length - len(row.tokens))] for row in rows]
        own = [[1] * len(row.tokens) + [0] * (length - len(row.tokens)) for row in rows]
        inputs, mask = torch.tensor(padded, device=device), torch.tensor(own, device=device)
        output = model(input_ids=inputs, attention_mask=mask, output_hidden_states=True, use_cache=False)
        last = torch.tensor([row.first for row in rows], device=device)
        every = torch.arange(len(last), device=device)
        states = torch.stack([layer[:, -length:][every, last] for layer in output.hidden_states], 1)
        found.update(zip((row.tokens for row in rows), states.to(torch.float16).cpu(), strict=True))
    return torch.stack([found[row] for row in tokens], 1)


def write_features(model, tokenizer, rows: Sequence[dict[str, Any]], output_folder: str | Path) -> None:
    """Ask nothing, read everything: the features of all rows that have a `question`."""
    hidden = hidden_states(model, tokenizer, [row["question"] for row in rows])
    with atomic_folder(output_folder) as folder:
        save_file({"hidden": hidden.contiguous()}, folder / "features.safetensors")
        with open(folder / "questions.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)


def read_features(folder: str | Path) -> tuple[Tensor, list[dict[str, Any]]]:
    """Hidden states and the questions they belong to, checked against their digests."""
    folder = Path(folder)
    verify_folder(folder)
    for name in ("features.safetensors", "questions.jsonl"):
        if not (folder / name).is_file():
            raise PalimpsestError(f"{folder}: no {name} here. These are not the features that `evaluate` writes.")
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    with safe_open(folder / "features.safetensors", framework="pt") as file:
        hidden = file.get_tensor("hidden")
    if hidden.shape[1] != len(rows):
        raise PalimpsestError(
            f"{folder}: {hidden.shape[1]} hidden states for {len(rows)} questions. Delete it and run the study again."
        )
    return hidden, rows
