"""The table of answers: read whole, checked for missing cells, sorted, and each question given its cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from palimpsest.provenance import PalimpsestError

VARIANT = ["model", "label", "method", "level", "seed", "recovery"]
TEXT = ["model", "label", "method", "level", "recovery", "task", "subset", "question", "form", "gold", "answer"]
GROUPS = ["person", "passage", "subject"]
COLUMNS = [
    *VARIANT,
    "task",
    "subset",
    "question",
    "form",
    "gold",
    "answer",
    "correct",
    "score",
    "tokens",
    *GROUPS,
    "bits",
    "published",
    "measures",
]
LATER = ("bits", "published", "measures")  # columns that a table may lack

# How lm-eval asked, and what the share of right answers is then called.
SCORING = {
    "generate_until": ("generated", "exact_match"),
    "multiple_choice": ("ranked", "acc"),
    "loglikelihood": ("likelihood", "acc"),
    "loglikelihood_rolling": ("likelihood", "perplexity"),
}


def read_answers(paths: Iterable[Path | str]) -> pandas.DataFrame:
    """All variants' answers in one table, sorted by variant, task and question, whatever the order of the files."""
    frames = []
    for path in map(Path, paths):
        if not path.exists():
            raise PalimpsestError(
                f"{path}: there is no such file; this variant was not evaluated. Run the study again."
            )
        try:
            frame = pandas.read_parquet(path)
        except (OSError, ValueError) as error:
            raise PalimpsestError(
                f"{path}: not a Parquet table ({error}). Delete it and run the study again."
            ) from None
        if missing := [column for column in COLUMNS if column not in frame and column not in LATER]:
            raise PalimpsestError(f"{path}: no column {', '.join(missing)}. Delete it and run the study again.")
        frames.append(tidy(frame))
    if not frames:
        raise PalimpsestError("no answers: the study has no variants.")
    return pandas.concat(frames, ignore_index=True).sort_values([*VARIANT, "task", "question"], ignore_index=True)


def tidy(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The columns of DESIGN's table, in their order and types: text as text, `correct` 0, 1 or not a number."""
    frame = frame.reindex(columns=COLUMNS)
    for column in TEXT + GROUPS:
        frame[column] = frame[column].fillna("").astype(str)
    frame["measures"] = frame["measures"].fillna("{}").astype(str)
    frame["seed"] = frame["seed"].astype(str).str.removeprefix("s").astype("int64")
    for column in ("correct", "score", "tokens", "bits", "published"):
        frame[column] = frame[column].astype("Float64").astype("float64")
    return frame


def assert_complete(answers: pandas.DataFrame, grid: Iterable[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
    """Every variant answers all of its tasks, with its dense control's questions, or an error names what is missing.

    `grid` has for each variant the columns that name it (`Variant.row`) and its tasks.
    """
    counts = answers.groupby([*VARIANT, "task"])["question"].agg(lambda questions: frozenset(questions))
    twice = answers.duplicated([*VARIANT, "task", "question"])
    if twice.any():
        row = answers[twice].iloc[0]
        raise PalimpsestError(
            f"answers: {variant_name(row)} answers question {row['question']} of {row['task']} twice."
        )
    complaints = []
    for variant, tasks in grid:
        key = tuple(variant[column] for column in VARIANT)
        control = (variant["model"], "dense", "dense", "full", 0, "none")
        for task in tasks:
            have, expected = counts.get((*key, task)), counts.get((*control, task))
            if have is None:
                complaints.append(f"{variant_name(variant)}: no answers to {task}")
            elif expected is not None and have != expected:
                lacking, extra = sorted(expected - have), sorted(have - expected)
                some = ", ".join((lacking or extra)[:3])
                what = (
                    f"{len(lacking)} questions of {task} are missing" if lacking else f"{len(extra)} too many of {task}"
                )
                complaints.append(
                    f"{variant_name(variant)}: {what} ({some}{' …' if len(lacking or extra) > 3 else ''})"
                )
    if complaints:
        raise PalimpsestError(
            "the answers are not complete; nothing is averaged over what is there:\n  "
            + "\n  ".join(complaints[:20])
            + (f"\n  and {len(complaints) - 20} more" if len(complaints) > 20 else "")
            + "\nDelete these variants' answers.parquet and run the study again."
        )


def variant_name(row: Mapping[str, Any]) -> str:
    """`atlas/gptq/3g64/s0/lora-r4`"""
    level = str(row["level"]).replace(":", "-")
    return f"{row['model']}/{row['label']}/{level}/s{row['seed']}/{row['recovery']}"


def clusters(answers: pandas.DataFrame) -> pandas.Series:
    """What groups a question: its person, else its passage, else its subject, else nothing but itself.

    Questions that all have one subject are not a sample of subjects: what is said of them is said of that subject.
    """
    columns = [column for column in GROUPS if column != "subject" or answers["subject"].nunique() > 1]
    found = answers["question"]
    for column in reversed(columns):
        found = answers[column].where(answers[column] != "", found)
    return found


def task_scoring(tasks_folder: Path | str, tasks: Iterable[str]) -> dict[str, tuple[str, str]]:
    """task -> (scoring, name of its metric), from the `output_type` of its lm-eval file."""
    found = {}
    for task in tasks:
        path = Path(tasks_folder) / task / f"{task}.yaml"
        if not path.exists():
            raise PalimpsestError(f"{path}: there is no such task file. Run the study again.")
        # Two keys are wanted; a task file may hold lm-eval's own YAML tags, which a plain loader refuses.
        text = path.read_text(encoding="utf-8")
        match = re.search(r"^output_type:\s*[\"']?(\w+)", text, flags=re.MULTILINE)
        if match is None or match[1] not in SCORING:
            raise PalimpsestError(
                f"{path}: output_type is {match and match[1]!r}; it must be one of {', '.join(SCORING)}."
            )
        scoring, metric = SCORING[match[1]]
        window = re.search(r"^    window: (\d+)$", text, flags=re.MULTILINE)  # of metadata.palimpsest
        found[task] = scoring, f"{metric}_{window[1]}" if window else metric
    return found


def read_rows(tasks_folder: Path | str, task: str) -> list[dict[str, Any]]:
    """The rows of a task's folder, as they were asked."""
    path = Path(tasks_folder) / task / f"{task}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read_questions(tasks_folder: Path | str, task: str) -> pandas.DataFrame:
    """The rows of a task that was made from the world: question, person, attribute, use, number of options, pool."""
    return pandas.DataFrame(
        {
            "question": str(row["id"]),
            "person": row.get("person", ""),
            "attribute": row.get("attribute", ""),
            "use": row.get("use", ""),
            "options": len(row.get("options", ())),
            "pool": row.get("pool", ""),
        }
        for row in read_rows(tasks_folder, task)
    )
