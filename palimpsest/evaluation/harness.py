"""lm-eval as the engine: its tasks build the requests and score the answers, our `LanguageModel` answers them."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing that lm-eval imports may look for updates, or write under the user's home.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from lm_eval import evaluator

from palimpsest.compression.families import is_encoder
from palimpsest.evaluation import answers, classification, questions
from palimpsest.evaluation.cache import AnswerCache
from palimpsest.evaluation.language_model import LanguageModel
from palimpsest.evaluation.questions import Questions
from palimpsest.evaluation.scorers import SCORERS
from palimpsest.evaluation.scorers.verdict import Scorer
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    import pandas


def lm(
    model, tokenizer, batch_size: int | str = "auto", cache: AnswerCache | str | Path | None = None
) -> LanguageModel:
    """A language model for `lm_eval.simple_evaluate(lm, …)`, with the numbers of lm-eval's `HFLM`.

    Args:
        model: a transformers causal language model, with or without a peft adapter.
        tokenizer: its tokenizer.
        batch_size: rows a batch at most, or "auto".
        cache: answers of this artifact: an `AnswerCache`, or the path `<artifact digest>.sqlite`.
    """
    if is_encoder(model.config.model_type):
        raise PalimpsestError(
            f"a {type(model).__name__} is an encoder: it predicts no next token. palimpsest.evaluate asks it what it "
            "was fine-tuned for."
        )
    return LanguageModel(model, tokenizer, batch_size, _cache(cache))


def evaluate(
    model,
    tokenizer,
    tasks: Sequence[str],
    data: str | Path,
    limit: int | None = None,
    batch_size: int | str = "auto",
    cache: AnswerCache | str | Path | None = None,
) -> pandas.DataFrame:
    """Ask the tasks' questions; one row a question, columns as in `answers.COLUMNS`.

    Args:
        model, tokenizer, batch_size, cache: as for `lm`; or an encoder that was fine-tuned for the tasks.
        tasks: names of tasks.
        data: folder with a folder a task, which holds `<task>.yaml` and `<task>.jsonl`.
        limit: ask only the first so many questions of each task.

    `score` is the log-likelihood of the gold answer (natural logarithm; NaN for generated answers), over `tokens`
    tokens; `correct` is missing for perplexity tasks; `bits` is log2 of the gold's share among the options.
    A text whose perplexity is asked for starts with exactly one BOS (HFLM puts two if the tokenizer adds one itself).
    """
    if isinstance(tasks, str):
        tasks = [tasks]
    if not Path(data).is_dir():
        raise PalimpsestError(f"{data}: there is no such folder. It should hold a folder a task.")
    if is_encoder(model.config.model_type):
        folders = [Path(data) / task for task in tasks]
        return classification.ask(model, tokenizer, folders, limit, batch_size, _cache(cache))
    language_model = LanguageModel(model, tokenizer, batch_size, _cache(cache), bos_once=True)
    return ask(language_model, [Path(data) / task for task in tasks], limit)


def ask(language_model: LanguageModel, folders: Sequence[Path], limit: int | None = None) -> pandas.DataFrame:
    """The same for task folders anywhere."""

    # lm-eval warns of what is meant here: rows that are handed over, zero-shot questions.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    asked = [questions.read(folder, language_model, limit) for folder in folders]
    rows: list[dict[str, Any]] = []
    with _no_collection():
        for turn in sorted({1} | {row.get("turn", 1) for task in asked for row in task.rows}):
            rows += _ask_turn(language_model, asked, turn, said=rows)
    return answers.table(rows)


def _ask_turn(
    language_model: LanguageModel, asked: Sequence[Questions], turn: int, said: list[dict]
) -> list[dict[str, Any]]:
    """The rows of a turn, whose questions are told in `answered` what was `said` to the one that they come `after`."""
    before = {(row["task"], row["question"]): row["answer"] for row in said}
    tasks: dict[str, Any] = {}
    drawn: dict[str, list[int]] = {}
    scorers: dict[str, Scorer | None] = {}
    for task in asked:
        now = [row for row in task.rows if row.get("turn", 1) == turn]
        now = [row | {"answered": before[task.name, row["after"]]} if row.get("after") else row for row in now]
        if now or (turn == 1 and task.is_registered):
            tasks[task.name] = built = task.task(now, language_model)
            scorers[task.name] = SCORERS.get(task.said.get("scorer"))
            if task.is_registered and (numbers := task.drawn(built)) is not None:
                drawn[task.name] = numbers
    # `simple_evaluate` would besides describe this machine in its results, by running a dozen programs.
    samples = evaluator.evaluate(
        language_model,
        {"tasks": tasks, "groups": {}, "group_map": {}},
        samples=drawn or None,
        bootstrap_iters=0,
        log_samples=True,
    )["samples"]
    ours = {task.name: not task.is_registered for task in asked}
    return [
        row
        for name, task in tasks.items()
        for row in answers.rows(name, task, samples[name], scorers[name], ours[name])
    ]


@contextlib.contextmanager
def _no_collection():
    """Tens of thousands of requests live until the end: looking for garbage among them takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _cache(cache: AnswerCache | str | Path | None) -> AnswerCache | None:
    return cache if cache is None or isinstance(cache, AnswerCache) else AnswerCache(cache)
