"""From a task's folder to lm-eval's task: its rows with their examples or as windows, or the registry's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.task import ConfigurableTask

from palimpsest.evaluation import definition, registered, windows
from palimpsest.evaluation.data import EXAMPLES, draw, read_examples, read_task
from palimpsest.evaluation.fewshot import FewshotTask
from palimpsest.evaluation.language_model import LanguageModel

FEWSHOT_SEED = 1234  # lm-eval's own


class Rows(list):
    """A task's rows as lm-eval wants a split: a sequence that knows its fields."""

    @property
    def features(self) -> dict[str, None]:
        return {field: None for row in self[:1] for field in row}


@dataclass(frozen=True)
class Questions:
    """What one task asks. A task of lm-eval's registry keeps its `rows` to itself."""

    folder: Path
    wanted: dict[str, Any]
    rows: list[dict[str, Any]]
    limit: int | None

    @property
    def said(self) -> Mapping[str, Any]:
        """`metadata.palimpsest` of the task."""
        return definition.ours(self.wanted)

    @property
    def name(self) -> str:
        return self.wanted["task"]

    @property
    def is_registered(self) -> bool:
        return self.said.get("source") == registered.SOURCE

    def task(self, rows: Sequence[dict[str, Any]], language_model: LanguageModel) -> ConfigurableTask:
        """lm-eval's task on some of the rows: the `datasets` library would copy them to its cache first."""
        if self.is_registered:
            return registered.build(self.name, self.folder, self.wanted["num_fewshot"], self.wanted["splits"])
        examples = Rows(read_examples(self.folder, self.wanted))
        splits = {"test": Rows(rows)} | ({EXAMPLES: examples} if examples else {})
        config = copy.deepcopy(self.wanted) | {"custom_dataset": lambda **_: splits, "test_split": "test"}
        config |= {"num_fewshot": self.wanted.get("num_fewshot", 0)}
        by, most = (self.said.get("fewshot") or {}).get("by"), self.said.get("fit")
        task = FewshotTask(config, examples, by, most and _fits(language_model, most, config))
        task.set_fewshot_seed(FEWSHOT_SEED)
        return task

    def drawn(self, task: ConfigurableTask) -> list[int] | None:
        """Numbers of the registry's questions that are asked; None for all."""
        numbers = [{"id": str(number), "number": number} for number in range(len(task.eval_docs))]
        asked = [row["number"] for row in draw(numbers, self.said.get("rows"))][: self.limit]
        return asked if len(asked) < len(numbers) else None


def read(folder: Path, language_model: LanguageModel, limit: int | None) -> Questions:
    """The questions of a task's folder; running text is cut into windows by the model's tokens."""
    wanted, rows = read_task(folder)
    said = definition.ours(wanted)
    if "window" in said:
        rows = draw(windows.cut(rows, wanted["task"], said, language_model), said.get("rows"))
    return Questions(folder, wanted, rows[:limit], limit)


def _fits(language_model: LanguageModel, most: int, config: Mapping[str, Any]):
    room = language_model.max_length - (config.get("generation_kwargs") or {}).get("max_gen_toks", 0)
    return lambda prompt: len(language_model.tok_encode(prompt)) <= min(most, room)
