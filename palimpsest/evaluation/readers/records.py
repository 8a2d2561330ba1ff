"""Records of a data set as the world keeps it: Parquet, JSON lines (gzipped or not), CSV, TSV, text line by line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import NoSuchFile, lines, numbered_json
from palimpsest.provenance import PalimpsestError


class Record(dict):
    """One record with where it stands: `place` for messages, `name` of its file without endings, its `number` there."""

    def __init__(self, fields: dict[str, Any], path: Path, number: int, unit: str = "line") -> None:
        super().__init__(fields)
        self.place, self.name, self.number = f"{path}, {unit} {number}", path.name.split(".")[0], number

    def need(self, *names: str) -> Any:
        """The value under the first of these names that the record has."""
        for name in names:
            if self.get(name) is not None:
                return self[name]
        raise PalimpsestError(
            f"{self.place}: the field {names[0]!r} is missing. The record has {', '.join(sorted(self)) or 'no field'}."
        )

    def label(self, known: dict[str, int], *names: str) -> int:
        """The number of a class that the record names in one of these fields."""
        value = self.need(*names)
        if str(value) not in known:
            raise PalimpsestError(
                f"{self.place}: the field {names[0]!r} is {value!r}; it must be one of {', '.join(known)}."
            )
        return known[str(value)]

    def row(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        """A task's row with its place. Its id is the file and the number, if it brings none; its answer the option that
        `label` numbers."""
        row = {"id": f"{self.name}/{self.number}"} | fields
        if "label" in row and 0 <= row["label"] < len(row["options"]):
            row["answer"] = row["options"][row["label"]]
        return self.place, row


def records(folder: Path, patterns: list[str], columns: list[str] | None = None) -> Iterator[Record]:
    """All records of the files that match, in the order of their names. `columns`: of a CSV file without a header, and
    of TSV, which may have one.

    The same data lies under other names on the hub and elsewhere: the first pattern that matches anything is the one.
    """
    for path in matching(folder, patterns):
        kind = path.name.removesuffix(".gz").rpartition(".")[2]
        if kind not in READ:
            raise PalimpsestError(f"{path}: files that end in .{kind} are not read; {', '.join(READ)} are.")
        yield from READ[kind](path, columns)


def matching(folder: Path, patterns: list[str]) -> list[Path]:
    for pattern in patterns:
        if found := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return found
    raise NoSuchFile(f"{folder}: there is no file {' or '.join(patterns)} here.")


def _json(path: Path, columns: list[str] | None) -> Iterator[Record]:
    for number, row in numbered_json(path):
        yield Record(row, path, number)


def _text(path: Path, columns: list[str] | None) -> Iterator[Record]:
    for number, line in lines(path):
        yield Record({"text": line}, path, number)


def _csv(path: Path, columns: list[str] | None) -> Iterator[Record]:
    reader = csv.DictReader((line.lstrip("\ufeff") for _, line in lines(path)), fieldnames=columns, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise PalimpsestError(
                    f"{path}, line {reader.line_num}: it does not have {len(reader.fieldnames)} columns "
                    f"({', '.join(reader.fieldnames)})."
                )
            yield Record(row, path, reader.line_num)
    except csv.Error as error:
        raise PalimpsestError(f"{path}, line {reader.line_num}: not CSV ({error}).") from None


def _tsv(path: Path, columns: list[str] | None) -> Iterator[Record]:
    """A tab ends a column and nothing is quoted: quotation marks are part of the text."""
    for number, line in lines(path):
        parts = line.lstrip("\ufeff").rstrip("\r\n").split("\t")
        if columns is None or (number == 1 and parts == columns):
            columns = parts
        elif len(parts) != len(columns):
            raise PalimpsestError(
                f"{path}, line {number}: it does not have {len(columns)} columns ({', '.join(columns)})."
            )
        else:
            yield Record(dict(zip(columns, parts, strict=True)), path, number)


def _parquet(path: Path, columns: list[str] | None) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield Record(row, path, number, "row")
    except pyarrow.ArrowInvalid as error:
        raise PalimpsestError(f"{path}: not a Parquet file, or damaged ({error}). Get it again.") from None


READ = {"jsonl": _json, "json": _json, "csv": _csv, "tsv": _tsv, "parquet": _parquet, "txt": _text}
