"""Judgements that were published with LLM-KICK (VITA-Group/llm-kick): GPT-4's scores of pairs of answers.

Its files, wherever they lie in a folder:

    question.jsonl, new_question.jsonl          {"question_id", "text", ...}
    answer.jsonl, gpt35_answer.jsonl            GPT-3.5's answers, the first of each pair; they may be missing
    <name>.jsonl                                a model's answers, {"question_id", "text", ...}, the second of each pair
    <name>_evaluation.jsonl                     {"question_id", "score": [first, second]} or, of summaries,
                                                {"score": {criterion: [first, second], ...}}; [-1, -1] was not parsed
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.evaluation.judge import Pair, grades, verdicts
from palimpsest.evaluation.readers.files import json_lines, read_text
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    import pandas

    from palimpsest.evaluation.language_model import LanguageModel

REVIEWS, SUMMARY = "_evaluation.jsonl", "ChatGpt score"
COLUMNS = ("task", "pair", "stored_outcome", "outcome", "stored_grade", "grade")


@dataclass(frozen=True)
class Review:
    """A pair with the stored scores of its answers, 1 to 10; of several criteria their means."""

    pair: Pair
    scores: tuple[float, float]

    @property
    def outcome(self) -> float:
        """1 where the second answer has the higher score, 0 where the first has, ½ for a tie."""
        first, second = self.scores
        return 0.5 if first == second else float(second > first)


def read_reviews(folder: str | Path) -> list[Review]:
    """The stored judgements in a folder, in the order of their files; none where it holds no such files."""
    folder = Path(folder)
    files = sorted(folder.rglob(f"*{REVIEWS}"))
    if not files:
        return []
    questions = _texts(folder, "question.jsonl", "new_question.jsonl")
    if questions is None:
        raise PalimpsestError(f"{folder}: judgements without their questions (question.jsonl or new_question.jsonl).")
    firsts = _texts(folder, "answer.jsonl", "gpt35_answer.jsonl") or {}
    return [review for path in files for review in _reviews(folder, path, questions, firsts)]


def _reviews(folder: Path, path: Path, questions: dict[str, str], firsts: dict[str, str]) -> Iterator[Review]:
    judged = path.name.removesuffix(REVIEWS) + ".jsonl"
    seconds = _texts(path.parent, judged)
    if seconds is None:
        raise PalimpsestError(f"{path}: the answers that it judges, {judged}, are not beside it.")
    for place, line in _lines(path):
        number = str(line.get("question_id"))
        if number not in questions or number not in seconds:
            raise PalimpsestError(f"{place}: question_id {number} has no question, or no answer that was judged.")
        scores = _scores(place, line.get("score"))
        if scores is not None:
            name = f"{path.relative_to(folder)}/{number}"
            yield Review(Pair(name, questions[number], firsts.get(number), seconds[number]), scores)


def _scores(place: str, score: Any) -> tuple[float, float] | None:
    pairs = list(score.values()) if isinstance(score, dict) else [score]
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(number, int | float) for number in pair):
            raise PalimpsestError(f"{place}: the score {score!r} is no pair of numbers, nor several by criterion.")
    if not pairs or any(number < 0 for pair in pairs for number in pair):
        return None
    return tuple(sum(numbers) / len(pairs) for numbers in zip(*pairs, strict=True))


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """JSON lines; a file of judgements may end in a line with the means, which is none."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip() and not line.startswith(SUMMARY):
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                raise PalimpsestError(f"{path}, line {number}: not JSON ({error}).") from None


def _texts(folder: Path, *names: str) -> dict[str, str] | None:
    """question_id -> text of the first of these files that lies in the folder."""
    for name in names:
        for path in sorted(folder.rglob(name)):
            return {str(line["question_id"]): line["text"] for _, line in json_lines(path)}
    return None


def judged_again(model: LanguageModel | None, reviews: Mapping[str, Sequence[Review]]) -> pandas.DataFrame:
    """A row a stored judgement of each task: `stored_outcome` and `outcome` (missing without the first answer),
    `stored_grade` and `grade` of the second answer."""
    import pandas

    rows = []
    for task, found in reviews.items():
        whole = [review for review in found if review.pair.first is not None]
        outcomes = dict(zip((r.pair.id for r in whole), verdicts(model, task, [r.pair for r in whole]), strict=True))
        for review, grade in zip(found, grades(model, task, [review.pair for review in found]), strict=True):
            outcome, _ = outcomes.get(review.pair.id, (None, None))
            theirs = {"stored_outcome": None if outcome is None else review.outcome, "stored_grade": review.scores[1]}
            rows.append({"task": task, "pair": review.pair.id} | theirs | {"outcome": outcome, "grade": grade})
    return pandas.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(COLUMNS[2:], float))
