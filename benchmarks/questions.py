"""Questions of the lengths of real tasks, for benchmarks: MMLU with five examples, HellaSwag, texts.

Real ones where PALIMPSEST_DATA has them, else random words of the same numbers.
"""

from __future__ import annotations

import csv
import json
import os
import random
from pathlib import Path

LETTERS = "ABCD"
SUBJECTS = ("abstract_algebra", "astronomy", "high_school_macroeconomics")


def data() -> Path | None:
    """The folder of real data, if there is one."""
    folder = Path(os.environ.get("PALIMPSEST_DATA", ""), "data")
    return folder if (folder / "mmlu").is_dir() and (folder / "hellaswag").is_dir() else None


def mmlu(questions: int) -> list[tuple[str, list[str]]]:
    """(prompt with the subject's five examples, letters) of the first questions of each subject."""
    found = []
    for subject in SUBJECTS:
        examples, asked = _subject(subject)
        title = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
        shown = "".join(f"{_question(row)} {row[5]}\n\n" for row in examples[:5])
        found += [(title + shown + _question(row), [f" {letter}" for letter in LETTERS]) for row in asked[:questions]]
    return found


def mmlu_cloze(questions: int) -> list[tuple[str, list[str]]]:
    """(question, the texts of its options) of the first questions of each subject."""
    asked = [row for subject in SUBJECTS for row in _subject(subject)[1][:questions]]
    return [(f"Question: {row[0].strip()}\nAnswer:", [f" {option}" for option in row[1:5]]) for row in asked]


def requests(kind: str, asked: list[tuple[str, list]]) -> list:
    """lm-eval's requests; those of a question have its number."""
    from lm_eval.api.instance import Instance

    return [
        Instance(kind, {}, (prompt, option), place, metadata=("task", number, 1))
        for number, (prompt, options) in enumerate(asked)
        for place, option in enumerate(options)
    ]


def hellaswag(questions: int) -> list[tuple[str, list[str]]]:
    """(context, four endings), evenly from the whole set."""
    if data() is None:
        return [(_words(45, number), [f" {_words(25, (number, ending))}" for ending in range(4)])
                for number in range(questions)]  # fmt: skip
    with open(data() / "hellaswag" / "hellaswag_val.jsonl", encoding="utf-8") as file:
        lines = file.readlines()  # captions of videos come first, then longer instructions
    rows = [json.loads(lines[number * len(lines) // questions]) for number in range(questions)]
    return [(row["ctx"], [f" {ending}" for ending in row["endings"]]) for row in rows]


def _subject(name: str) -> tuple[list[list[str]], list[list[str]]]:
    if data() is None:
        rows = [[_words(30, (name, row)), *(_words(6, (name, row, letter)) for letter in LETTERS), "B"]
                for row in range(200)]  # fmt: skip
        return rows[:5], rows[5:]
    return tuple(
        list(csv.reader((data() / "mmlu" / split / f"{name}_{split}.csv").open(encoding="utf-8", newline="")))
        for split in ("dev", "test")
    )


def _question(row: list[str]) -> str:
    options = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, row[1:5], strict=True))
    return f"{row[0].strip()}\n{options}Answer:"


def _words(count: int, seed: object) -> str:
    draw = random.Random(str(seed))
    return " ".join("".join(draw.choices("aeinorst", k=draw.randint(2, 8))) for _ in range(count))


def tokenizer(texts: list[str], vocabulary: int):
    """A byte-level BPE of these texts, with <bos>, which it does not add, and <eos>."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=["<eos>", "<bos>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, bos_token="<bos>", eos_token="<eos>")
