"""Answers that were computed before, by artifact: one SQLite file an artifact, shared by all studies.

A key is the SHA-256 of everything an answer depends on besides the artifact: the kind of request, its tokens, the
generation settings, the number format. Each row carries a checksum. A file that SQLite, the checksum or the name of
the artifact contradicts is set aside as `<name>.damaged` and reported, and its answers are computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

log = logging.getLogger(__name__)

VERSION = "2"  # a change of what an answer is, or of how it is computed, is a new version
AT_ONCE = 500  # SQLite allows 999 parameters a statement in its older versions


class AnswerCache:
    """Answers of one artifact.

    Args:
        path: the SQLite file; it is made when the first answers are stored.
        artifact: digest of the artifact (cell, or cell with adapter); the file's stem if it is not given.
    """

    def __init__(self, path: str | Path, artifact: str | None = None) -> None:
        self.path = Path(path)
        self.artifact = artifact or self.path.stem

    @staticmethod
    def key(*parts: object) -> bytes:
        return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True).encode()).digest()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, object]:
        """The answers that are there, of those asked for."""
        keys = list(dict.fromkeys(keys))
        if not keys or not self.path.exists():
            return {}
        found: dict[bytes, object] = {}
        try:
            with contextlib.closing(self._connect()) as base:
                for start in range(0, len(keys), AT_ONCE):
                    some = keys[start : start + AT_ONCE]
                    marks = ",".join("?" * len(some))
                    for key, answer, check in base.execute(
                        f"SELECT key, answer, checksum FROM answers WHERE key IN ({marks})", some
                    ):
                        if check != self._checksum(key, answer):
                            raise sqlite3.DatabaseError("an answer does not match its checksum")
                        found[key] = json.loads(answer)
        except sqlite3.OperationalError as error:
            if not _damage(error):
                raise
            self._set_aside(error)
            return {}
        except (sqlite3.DatabaseError, ValueError) as error:
            self._set_aside(error)
            return {}
        return found

    def put(self, answers: Mapping[bytes, object]) -> None:
        """Store answers in one transaction; what another process stored meanwhile stays."""
        if not answers:
            return
        texts = [(key, json.dumps(answer)) for key, answer in answers.items()]
        rows = [(key, text, self._checksum(key, text)) for key, text in texts]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._write(rows)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _damage(error):
                raise
            self._set_aside(error)
            self._write(rows)

    def _write(self, rows: list[tuple[bytes, str, bytes]]) -> None:
        with contextlib.closing(self._connect(create=True)) as base, base:
            base.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)

    def _connect(self, create: bool = False) -> sqlite3.Connection:
        base = sqlite3.connect(self.path, timeout=120)
        try:
            if create:
                with base:
                    base.execute("BEGIN IMMEDIATE")
                    base.execute(
                        "CREATE TABLE IF NOT EXISTS answers "
                        "(key BLOB PRIMARY KEY, answer TEXT, checksum BLOB) WITHOUT ROWID"
                    )
                    base.execute("CREATE TABLE IF NOT EXISTS artifact (digest TEXT PRIMARY KEY)")
                    if not base.execute("SELECT 1 FROM artifact").fetchone():
                        base.execute("INSERT INTO artifact VALUES (?)", (self.artifact,))
            found = base.execute("SELECT digest FROM artifact").fetchone()
            if found != (self.artifact,):
                raise sqlite3.DatabaseError(
                    f"it holds the answers of artifact {found and found[0]}, not of {self.artifact}"
                )
        except BaseException:
            base.close()
            raise
        return base

    def _checksum(self, key: bytes, answer: str) -> bytes:
        return hashlib.sha256(self.artifact.encode() + key + answer.encode()).digest()[:8]

    def _set_aside(self, error: Exception) -> None:
        aside = self.path.with_name(self.path.name + ".damaged")
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, aside)
        log.warning("%s: damaged (%s). Set aside as %s; its answers are computed again.", self.path, error, aside.name)


def _damage(error: sqlite3.OperationalError) -> bool:
    """Whether the file is at fault (a table missing), not the disk or another process that holds it."""
    return any(words in str(error) for words in ("no such table", "no such column", "has no column", "malformed"))
