"""GSM8K: grade-school problems with worked answers, and the worked examples that stand before each."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, json_lines


def gsm8k(folder: Path, settings: dict[str, Any]) -> Rows:
    """Rows of `test.jsonl`; `examples` are the first `shots` of `train.jsonl`, the same for all.

    lm-eval draws them anew for each question, so that no two prompts share a beginning.
    """
    shots = itertools.islice(json_lines(folder / "train.jsonl"), settings["shots"])
    examples = "".join(f"Question: {line['question']}\nAnswer: {line['answer']}\n\n" for _, line in shots)
    for number, (place, line) in enumerate(json_lines(folder / "test.jsonl")):
        yield place, {"id": f"test/{number}"} | line | {"examples": examples}
