"""The leak guard of a study: each text that a calibration or recovery reads, against each task that is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from palimpsest.leaks.overlap import Found, Index
from palimpsest.leaks.rows import read_rows
from palimpsest.provenance import atomic_file
from palimpsest.sources.folder import find

if TYPE_CHECKING:
    from palimpsest.grid import Grid
    from palimpsest.settings import FileText

COLUMNS = ["use", "text", "task", "rows", "overlapping", "overlapping_share", "contained", "contained_share", "worst"]
NAMED = 3  # of the worst rows


@dataclass(frozen=True)
class Source:
    """A text that something is made from; `use` is calibration, recovery, validation or fine-tuning."""

    use: str
    name: str
    documents: Sequence[str]

    def __str__(self) -> str:
        return f"{self.use} {self.name}"


def write(results: Path, grid: Grid, tasks: Sequence[str], output: Path | str) -> None:
    """Write leaks.csv, a row a text and task, and a warning to standard error for each row that contains questions."""
    index = Index({task: read_rows(results / "tasks" / task) for task in tasks})
    table = compare(sources(results, grid), index)
    for line in warnings(table):
        print(f"warning: {line}", file=sys.stderr)
    with atomic_file(output) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def compare(texts: Iterator[Source], index: Index) -> pandas.DataFrame:
    rows = [_row(text, task, found) for text in texts for task, found in index.found_in(text.documents).items()]
    return pandas.DataFrame(rows, columns=COLUMNS)


def warnings(table: pandas.DataFrame) -> list[str]:
    """A sentence for each text that says a task's questions with their answers, or a whole text of it."""
    return [
        f"{row.contained} of {row.rows} questions or texts of {row.task} occur whole, questions with their answers, "
        f"in the text of {row.use} {row.text}, e.g. {row.worst.split('; ')[0]}"
        for row in table[table["contained"] > 0].itertuples()
    ]


def _row(text: Source, task: str, found: Found) -> dict[str, object]:
    overlapping, contained = len(found.overlapping.keys() | found.contained), len(found.contained)
    return {
        "use": text.use, "text": text.name, "task": task, "rows": found.rows,
        "overlapping": overlapping, "overlapping_share": round(overlapping / max(1, found.rows), 6),
        "contained": contained, "contained_share": round(contained / max(1, found.rows), 6),
        "worst": "; ".join(found.worst[:NAMED]),
    }  # fmt: skip


def sources(results: Path, grid: Grid) -> Iterator[Source]:
    """The rows of every calibration that some cell needs, all models and seeds together; the recoveries' texts; the
    training rows of tasks, each with the answer that is learned."""
    drawn: dict[str, list[tuple[str, int]]] = {}
    for model, name, seed in grid.calibrations():
        drawn.setdefault(name, []).append((model, seed))
    for name, samples in drawn.items():
        documents: dict[str, None] = {}
        for model, seed in samples:
            folder = _under(results, grid, grid.calibration_folder(model, name, seed))
            documents |= dict.fromkeys(calibration_rows(folder, _under(results, grid, grid.model_folder(model))))
        yield Source("calibration", name, list(documents))
    used = {variant.recovery for variant in grid.variants() if grid.recovery(variant)}
    texts: dict[tuple[str, str], str | FileText] = {}
    for name, recovery in grid.recoveries.items():
        if name in used and recovery.training:
            for use, text in (("recovery", recovery.training.text), ("validation", recovery.training.validation)):
                # The rows of calibrations are looked at above, those of tasks below.
                if text is not None and not hasattr(text, "calibration") and not hasattr(text, "task"):
                    texts[use, text if isinstance(text, str) else text.path] = text
    for (use, name), text in texts.items():
        path = results / "world" / "text" / f"{text}.txt" if isinstance(text, str) else find(text.path)
        yield Source(use, name, path.read_text(encoding="utf-8").splitlines())
    for task in grid.learned_tasks():
        learned = read_rows(_under(results, grid, grid.training_folder(task)))
        yield Source("fine-tuning", f"task {task}", [" ".join(row.words) for row in learned])


def calibration_rows(folder: Path, model: Path) -> list[str]:
    """What a calibration has drawn, as text: the tokens of its rows, decoded."""
    from palimpsest.calibration import read_rows as read_tokens
    from palimpsest.loading import load_tokenizer

    tokens, lengths, _ = read_tokens(folder)
    rows = [row[:length].tolist() for row, length in zip(tokens, lengths.tolist(), strict=True)]
    return load_tokenizer(model).batch_decode(rows, skip_special_tokens=True)


def _under(results: Path, grid: Grid, path: str) -> Path:
    return results / Path(path).relative_to(grid.results)
