"""An encoder answers by its classes: the answers of a fine-tuned model, in the table that decoders' answers go into.

Of a task with classes the answer is the likeliest one. Of a pair of statements each gets the probability of being the
right one, and the likelier is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from torch import nn

from palimpsest.evaluation import answers, definition
from palimpsest.evaluation.cache import AnswerCache
from palimpsest.evaluation.data import read_task
from palimpsest.finetuning.examples import Encoded, encode, of_row, pad
from palimpsest.finetuning.head import classes_of
from palimpsest.provenance import PalimpsestError

DIGITS = 6  # of a log-probability: what float32 can tell
BATCH_TOKENS = 2048  # of a batch "auto"


def ask(
    model: nn.Module,
    tokenizer,
    folders: Sequence[Path],
    limit: int | None = None,
    batch_size: int | str = "auto",
    cache: AnswerCache | None = None,
) -> pandas.DataFrame:
    """One row a question, columns as in `answers.COLUMNS`; the arguments are those of `harness.evaluate`.

    `score` is ln p of the right class (of a pair: ln p that the true statement is the right one), `bits` log2 of its
    share among the row's options.
    Raises PalimpsestError where the model has no classes, or others than a task has.
    """
    rows: list[dict[str, Any]] = []
    for folder in map(Path, folders):
        wanted, asked = read_task(folder)
        said, asked = definition.ours(wanted), asked[:limit]
        _check(model, folder, wanted)
        examples = [of_row(row, said) for row in asked]
        encoded = encode([example for some in examples for example in some], tokenizer, model)
        found = iter(_answer(model, encoded, tokenizer.pad_token_id or 0, batch_size, cache))
        for row, some in zip(asked, examples, strict=True):
            scores = [next(found) for _ in some]
            of_options = [score[1] for score in scores] if "pair" in said else scores[0]
            rows.append(_row(wanted["task"], row, np.array(of_options)))
    return answers.table(rows)


def _check(model: nn.Module, folder: Path, wanted: dict[str, Any]) -> None:
    task = wanted["task"]
    if "classify" not in definition.ours(wanted):
        raise PalimpsestError(f"{folder}: an encoder cannot be asked {task}: the task's file does not say `classify`.")
    learned, needed = classes_of(model), definition.classes(wanted)
    if learned is None:
        raise PalimpsestError(
            f"{folder}: a {type(model).__name__} cannot be asked {task}: it has no classification head. Fine-tune it, "
            f"e.g. `models: {{nli: {{source: fine-tuned, of: …, task: {task}}}}}`."
        )
    if learned != needed:
        raise PalimpsestError(
            f"{folder}: the classes of {task} are {', '.join(needed)}; the model was fine-tuned on others: "
            f"{', '.join(learned)}."
        )


def _answer(
    model: nn.Module, rows: Sequence[Encoded], padding: int, batch_size: int | str, cache: AnswerCache | None
) -> list[list[float]]:
    """ln p of each class, row by row; what the cache has is not computed again."""
    number_format = str(next(model.parameters()).dtype)
    keys = [AnswerCache.key("classes", row.ids, row.types, number_format) for row in rows]
    known: dict[bytes, Any] = cache.get(keys) if cache else {}
    new = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
    computed = dict(zip(new, _scores(model, list(new.values()), padding, batch_size), strict=True))
    if cache:
        cache.put(computed)
    return [(known | computed)[key] for key in keys]


@torch.inference_mode()
def _scores(model: nn.Module, rows: Sequence[Encoded], padding: int, batch_size: int | str) -> list[list[float]]:
    device, model = next(model.parameters()).device, model.eval()
    scores: dict[int, list[float]] = {}
    for numbers in _batches(rows, batch_size):
        inputs = pad([rows[number] for number in numbers], padding).inputs
        logits = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
        for number, each in zip(numbers, logits.double().log_softmax(-1).tolist(), strict=True):
            scores[number] = [round(score, DIGITS) for score in each]
    return [scores[number] for number in range(len(rows))]


def _batches(rows: Sequence[Encoded], batch_size: int | str) -> list[list[int]]:
    """Numbers of rows of like length: so many a batch, or as many as have about `BATCH_TOKENS` with their padding."""
    batches: list[list[int]] = []
    for number in sorted(range(len(rows)), key=lambda number: -len(rows[number])):
        # The first row of a batch is its longest.
        if batches and len(batches[-1]) < _most(rows[batches[-1][0]], batch_size):
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def _most(longest: Encoded, batch_size: int | str) -> int:
    return max(1, BATCH_TOKENS // len(longest)) if batch_size == "auto" else int(batch_size)


def _row(task: str, row: dict[str, Any], scores: np.ndarray) -> dict[str, Any]:
    options = row["options"]
    gold, chosen = row["label"] if "label" in row else options.index(row["answer"]), int(scores.argmax())
    groups = {group: row.get(group, "") for group in answers.GROUPS}
    return {
        "task": task,
        "subset": row.get("subset", ""),
        "question": row["id"],
        "form": row.get("form", ""),
        "gold": options[gold].strip(),
        "answer": options[chosen].strip(),
        "correct": chosen == gold,
        "score": float(scores[gold]),
        "tokens": 1,
        **groups,
        "bits": float((scores[gold] - np.logaddexp.reduce(scores)) / np.log(2)),
        "published": None,
        "measures": "{}",
    }
