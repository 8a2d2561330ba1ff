"""What is true of the people of a world, as `facts.parquet` has it, found again in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from palimpsest.provenance import PalimpsestError


@dataclass(frozen=True)
class Fact:
    person: str
    attribute: str
    value: str
    pool: str


class Facts:
    """The facts by person. A person and a value are found as whole words, whatever their case."""

    def __init__(self, facts: Mapping[str, list[Fact]]) -> None:
        self.of = {person.casefold(): known for person, known in facts.items()}

    @classmethod
    def read(cls, file: Path | str) -> Facts:
        """From the columns person, attribute, value and pool of `facts.parquet`."""
        import pyarrow.parquet

        if not Path(file).is_file():
            raise PalimpsestError(f"{file}: there is no such file of facts.")
        facts: dict[str, list[Fact]] = {}
        for row in pyarrow.parquet.read_table(file, columns=["person", "attribute", "value", "pool"]).to_pylist():
            facts.setdefault(row["person"], []).append(Fact(**row))
        return cls(facts)

    def said(self, document: str) -> Iterator[tuple[Fact, list[tuple[int, int]]]]:
        """Facts whose person and whose value both occur in the document, with the places of the value."""
        text = document.casefold()
        if len(text) != len(document):  # a letter that has several in lower case would move the places
            text = document
        for person in dict.fromkeys(found[0] for found in self._people.finditer(text)):
            for fact in self.of[person]:
                value = re.compile(rf"(?<!\w){re.escape(fact.value.casefold())}(?!\w)")
                if places := [found.span() for found in value.finditer(text)]:
                    yield fact, places

    @cached_property
    def _people(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{'|'.join(sorted(map(re.escape, self.of), key=len, reverse=True))})(?!\w)")
