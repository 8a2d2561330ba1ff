"""A local model as judge of free texts: which of two answers is better, and how good is one?

What it would *say* is never parsed. Of two answers, A and B, the likelier letter after "the better answer is that of
Assistant" wins; both orders are asked, and where they disagree it is a tie. A grade is the expected value of 1 to 10
under the likelihoods of "1/10" to "10/10" after "this answer deserves". The prompts are those of MT-Bench and LLM-KICK
(Zheng et al., arXiv:2306.05685) without the demand for an explanation; a tokenizer with a chat template wraps them in
it. A small model gives judgements too, and worthless ones: see `judge_kappa` in analysis/judged.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.evaluation import definition

if TYPE_CHECKING:
    import pandas

    from palimpsest.evaluation.language_model import LanguageModel

PAIR = """[Question]
{question}

[The Start of Assistant A's Answer]
{a}
[The End of Assistant A's Answer]

[The Start of Assistant B's Answer]
{b}
[The End of Assistant B's Answer]

Which assistant followed the instructions and answered the question better? Do not let the order of the answers or \
their length influence you."""
PAIR_OPENING = "The better answer is that of Assistant"
LETTERS = (" A", " B")
SINGLE = """[Question]
{question}

[The Start of Assistant's Answer]
{answer}
[The End of Assistant's Answer]

Rate the helpfulness, relevance, accuracy and level of detail of the answer on a scale of 1 to 10, where a higher \
number is better."""
SINGLE_OPENING = "On this scale the answer deserves"
GRADES = tuple(range(1, 11))
NUMBERS = ("outcome", "agree", "grade", "truncated")
COLUMNS = ("task", "subset", "question", "passage", *NUMBERS)


@dataclass(frozen=True)
class Pair:
    """A question with two answers to it; without `first` only the second is graded."""

    id: str
    question: str
    first: str | None
    second: str


def is_judged(task: str) -> bool:
    """Whether the answers to a task are for a judge: its file says `judged: true`."""
    return task in definition.names() and bool(definition.ours(definition.shipped(task)).get("judged"))


def load(folder: str | Path, cache: str | Path | None = None) -> LanguageModel:
    """The judge in a model's folder, with its answers under `cache`."""
    from palimpsest import loading
    from palimpsest.evaluation.cache import AnswerCache
    from palimpsest.evaluation.language_model import LanguageModel
    from palimpsest.provenance import folder_digest

    model, tokenizer = loading.load(folder)
    return LanguageModel(model, tokenizer, cache=cache and AnswerCache(Path(cache) / f"{folder_digest(folder)}.sqlite"))


def verdicts(model: LanguageModel, task: str, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
    """(1 where the second answer wins, 0 where the first does, ½ for a tie; whether both orders agree) of each pair."""
    forth = _shares(model, task, [_pair(model, pair, pair.first, pair.second) for pair in pairs], LETTERS)
    back = _shares(model, task, [_pair(model, pair, pair.second, pair.first) for pair in pairs], LETTERS)
    found = []
    for (first_a, second_b), (second_a, first_b) in zip(forth, back, strict=True):
        wins = second_b > first_a and second_a > first_b
        loses = second_b < first_a and second_a < first_b
        found.append((1.0 if wins else 0.0 if loses else 0.5, wins or loses))
    return found


def grades(model: LanguageModel, task: str, pairs: Sequence[Pair]) -> list[float]:
    """The grade of each second answer, 1 to 10."""
    options = [f" {grade}/10" for grade in GRADES]
    shares = _shares(model, task, [_single(model, pair) for pair in pairs], options)
    return [sum(grade * share for grade, share in zip(GRADES, found, strict=True)) for found in shares]


def judgements(
    model: LanguageModel, folders: Sequence[Path], answers: pandas.DataFrame, dense: pandas.DataFrame | None
) -> pandas.DataFrame:
    """A row an answer to the tasks in `folders`: `outcome` against the dense model's answer (1 better, 0 worse, ½ tie),
    whether both orders `agree`, and the `grade`; `truncated` is 1 where what the judge should have read exceeds its
    context, and the beginning was cut off. `dense` is None for the dense model itself: nothing to compare with.
    """
    import pandas

    from palimpsest.evaluation.data import read_task

    rows: list[dict[str, Any]] = []
    for folder in folders:
        wanted, questions = read_task(folder)
        task = wanted["task"]
        ours, theirs = (None if table is None else said(table, task) for table in (answers, dense))
        asked = [row for row in questions if row["id"] in ours]
        pairs = [
            Pair(
                id=row["id"],
                question=row.get("first", row["question"]),
                first=None if theirs is None else shown(row, theirs),
                second=shown(row, ours),
            )
            for row in asked
        ]
        outcomes = verdicts(model, task, pairs) if theirs is not None else [(None, None)] * len(pairs)
        for row, pair, (outcome, agree), grade in zip(asked, pairs, outcomes, grades(model, task, pairs), strict=True):
            name = {"task": task, "question": row["id"]}
            name |= {"subset": row.get("subset", ""), "passage": row.get("passage", "")}
            longest = _single(model, pair) if dense is None else _pair(model, pair, pair.first, pair.second)
            truncated = len(model.tok_encode(longest)) >= model.max_length
            rows.append(name | {"outcome": outcome, "agree": agree, "grade": grade, "truncated": truncated})
    return pandas.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def said(table: pandas.DataFrame, task: str) -> dict[str, str]:
    """Question -> answer."""
    rows = table[table["task"] == task]
    return dict(zip(rows["question"], rows["answer"], strict=True))


def shown(row: Mapping[str, Any], answers: Mapping[str, str]) -> str:
    """What the judge reads of one assistant: its answer, in a second turn with the conversation before it."""
    answer = answers[row["id"]]
    if not row.get("after"):
        return answer
    return f"{answers[row['after']]}\n\n### User:\n{row['question']}\n\n### Assistant:\n{answer}"


def _pair(model: LanguageModel, pair: Pair, a: str, b: str) -> str:
    return _prompt(model, PAIR.format(question=pair.question, a=a, b=b), PAIR_OPENING)


def _single(model: LanguageModel, pair: Pair) -> str:
    return _prompt(model, SINGLE.format(question=pair.question, answer=pair.second), SINGLE_OPENING)


def _prompt(model: LanguageModel, request: str, opening: str) -> str:
    """The request, up to where the judge's answer goes on."""
    if getattr(model.tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": request}]
        return model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + opening
    return f"{request}\n\n{opening}"


def _shares(model: LanguageModel, task: str, prompts: Sequence[str], options: Sequence[str]) -> list[tuple[float, ...]]:
    """The options' likelihoods after each prompt, as shares of their sum."""
    from lm_eval.api.instance import Instance
    from scipy.special import softmax

    if not prompts:
        return []
    requests = [
        Instance("loglikelihood", doc={}, arguments=(prompt, option), idx=place, metadata=(task, number, 1))
        for number, prompt in enumerate(prompts)
        for place, option in enumerate(options)
    ]
    scores = iter(score for score, _ in model.loglikelihood(requests))
    return [tuple(softmax([next(scores) for _ in options]).tolist()) for _ in prompts]
