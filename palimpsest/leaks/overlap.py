"""Questions and evaluated texts that occur in another text, by their word n-grams.

Words are compared without case and punctuation. A question *overlaps* with a text if they have eight words in a row in
common (of question and answer; a shorter question: the whole of it). That may be by design: two texts about one
person. It is *contained* if a document of the text says it whole, and then its answer; an evaluated text without a
question if it occurs whole, or a document lies whole in it; and each if they have fifty words in a row in common (the
length that Lee et al. 2022, arXiv:2107.06499, take for a copy).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

WORDS = 8  # in a row
COPY = 50  # words in a row that nobody writes twice
FRAME = 10  # rows from which on what most of them share is the task's own wording


@dataclass(frozen=True)
class Row:
    """A question with the answers that count as right, or (without a question) a text; words only."""

    id: str
    question: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return self.question + (self.answers[0] if self.answers else ())

    @cached_property
    def whole(self) -> str:
        """What must occur whole, with blanks around it, so that no word is cut."""
        return f" {' '.join(self.question or self.words)} "


@dataclass
class Found:
    """Of one task: row -> the share of its n-grams that the text has, and the rows that it contains."""

    rows: int
    overlapping: dict[str, float] = field(default_factory=dict)
    contained: set[str] = field(default_factory=set)

    @property
    def worst(self) -> list[str]:
        """Rows by how much of them is there: contained ones first."""
        return sorted(self.overlapping, key=lambda row: (row not in self.contained, -self.overlapping[row], row))


def words(text: str) -> tuple[str, ...]:
    """Words and numbers of a text, without case and punctuation."""
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def unframed(question: tuple[str, ...]) -> tuple[str, ...]:
    """A question without the words around it that say what it is: `question : … ? answer :`."""
    first = int(question[:1] in (("question",), ("q",)))
    last = len(question) - int(question[-1:] in (("answer",), ("a",)))
    return question[first:last]


class Index:
    """The rows of several tasks, by their n-grams: every text is then read once."""

    def __init__(self, tasks: Mapping[str, Sequence[Row]]) -> None:
        self.tasks = tasks
        self.grams: dict[tuple[str, Row], set[str]] = {}
        self._rows: dict[int, dict[str, list[tuple[str, Row]]]] = defaultdict(lambda: defaultdict(list))
        for task, rows in tasks.items():
            of_row = {row: _grams(row) for row in rows}
            often = Counter(gram for grams in of_row.values() for _, gram in grams)
            for row, grams in of_row.items():
                kept = {(size, gram) for size, gram in grams if not FRAME <= len(rows) < 2 * often[gram]}
                self.grams[task, row] = {gram for _, gram in kept}
                for size, gram in kept:
                    self._rows[size][gram].append((task, row))
                for gram in _in_a_row(row.words, COPY) if len(row.words) >= COPY else ():
                    self._rows[COPY][gram].append((task, row))

    def found_in(self, documents: Iterable[str]) -> dict[str, Found]:
        """What of each task occurs in some documents."""
        found = {task: Found(len(rows)) for task, rows in self.tasks.items()}
        seen: dict[tuple[str, Row], set[str]] = defaultdict(set)
        for document in map(words, documents):
            said = f" {' '.join(document)} "
            touched: set[tuple[str, Row]] = set()
            for size, rows in self._rows.items():
                for gram in _in_a_row(document, size):
                    for key in rows.get(gram, ()):
                        touched.add(key)
                        if size == COPY:
                            found[key[0]].contained.add(key[1].id)
                        else:
                            seen[key].add(gram)
            for task, row in touched:
                if row.id not in found[task].contained and _contains(document, said, row):
                    found[task].contained.add(row.id)
        for (task, row), grams in seen.items():
            found[task].overlapping[row.id] = len(grams) / len(self.grams[task, row])
        return found


def _grams(row: Row) -> set[tuple[int, str]]:
    """(words, n-gram) of a row: eight words, or the whole of a question that is shorter."""
    said = row.question if 0 < len(row.question) < WORDS else row.words
    size = min(WORDS, len(said))
    return {(size, gram) for gram in _in_a_row(said, size)} if size else set()


def _in_a_row(said: Sequence[str], size: int) -> list[str]:
    return [" ".join(said[at : at + size]) for at in range(len(said) - size + 1)]


def _contains(document: Sequence[str], said: str, row: Row) -> bool:
    at = said.find(row.whole)
    if row.question and row.answers:
        after = said[at + len(row.whole) - 1 :]
        return at >= 0 and any(f" {' '.join(answer)} " in after for answer in row.answers)
    # A calibration row is a window of a text: its first and last words may be parts of words.
    inner = document[1:-1]
    return at >= 0 or (not row.question and len(inner) >= WORDS and f" {' '.join(inner)} " in row.whole)
