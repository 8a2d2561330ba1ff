"""What a classifier reads of a task's row, and which class is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from palimpsest.evaluation import definition
from palimpsest.evaluation.data import read_task
from palimpsest.provenance import PalimpsestError


@dataclass(frozen=True)
class Example:
    """One text or two, and the number of their class."""

    texts: tuple[str, ...]
    label: int


def of_row(row: Mapping[str, Any], said: Mapping[str, Any]) -> list[Example]:
    """The examples of a row of a task that says `said` of itself: one, or one for each option of a pair."""
    fields = said["classify"]["texts"]
    if definition.OPTION not in fields:
        return [Example(tuple(row[field] for field in fields), row["label"])]
    return [
        Example(
            tuple(option if field == definition.OPTION else row[field] for field in fields), option == row["answer"]
        )
        for option in row["options"]
    ]


def read_examples(training_folder: Path | str) -> tuple[list[Example], list[str]]:
    """The examples of a folder of training rows (`evaluation.data.write_training`), and the names of the classes."""
    wanted, rows = read_task(training_folder)
    said, classes = definition.ours(wanted), definition.classes(wanted)
    examples = [example for row in rows for example in of_row(row, said)]
    if lacking := [name for number, name in enumerate(classes) if all(one.label != number for one in examples)]:
        raise PalimpsestError(
            f"{training_folder}: none of the {len(examples)} training examples of {wanted['task']} has the class "
            f"{lacking[0]!r}: there is nothing to learn of it. Train on more rows."
        )
    return examples, classes


@dataclass(frozen=True)
class Encoded:
    """One example as tokens: ids, which text each belongs to (where the model asks for that), and the class."""

    ids: list[int]
    types: list[int] | None
    label: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Right-padded rows; `inputs` are what the model takes, the mask of the padding among them."""

    inputs: dict[str, Int[Tensor, "rows length"]]
    labels: Int[Tensor, " rows"]

    @property
    def count(self) -> int:
        return len(self.labels)


def encode(examples: Sequence[Example], tokenizer, model) -> list[Encoded]:
    """The tokens of each example; the longer of two texts is cut where both do not fit into the model's context."""
    if not examples:
        return []
    columns = [list(texts) for texts in zip(*(example.texts for example in examples), strict=True)]
    encoded = tokenizer(*columns, truncation=True, max_length=context_length(model), return_token_type_ids=True)
    # RoBERTa's token types are one, whatever its tokenizer says.
    typed = getattr(model.config, "type_vocab_size", 1) > 1
    types = encoded["token_type_ids"] if typed else [None] * len(examples)
    return [
        Encoded(ids, kinds, int(example.label))
        for ids, kinds, example in zip(encoded["input_ids"], types, examples, strict=True)
    ]


def context_length(model) -> int:
    """Tokens that fit. RoBERTa's positions begin after that of its padding."""
    begins = model.config.pad_token_id + 1 if model.config.model_type == "roberta" else 0
    return model.config.max_position_embeddings - begins


def pad(rows: Sequence[Encoded], padding: int) -> Batch:
    longest = max(map(len, rows))

    def padded(rows: Sequence[list[int]], value: int) -> Tensor:
        return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])

    inputs = {
        "input_ids": padded([row.ids for row in rows], padding),
        "attention_mask": padded([[1] * len(row) for row in rows], 0),
    }
    if rows[0].types is not None:
        inputs["token_type_ids"] = padded([row.types for row in rows], 0)
    return Batch(inputs, torch.tensor([row.label for row in rows]))
