"""Digests, atomic writes, and what made a file.

Nothing half-written ever has its final name: every artifact is written beside its place and renamed. Every
artifact folder carries `digests.json`, the SHA-256 of each of its files, which is checked when it is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

DIGESTS = "digests.json"


class PalimpsestError(Exception):
    """Something that a person must put right. The message names value and place and says what would be right."""


class DamagedArtifact(PalimpsestError):
    """A file that is not what its digest says."""


def digest_bytes(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: object) -> str:
    """Digest of a JSON-able value, whatever the order of its keys."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def digest_file(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> object:
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedArtifact(f"{path}: not JSON ({error}). Delete it and run the study again.") from None


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it gets the name `path` only if the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, write its `digests.json` and rename it to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        files = sorted(file for file in temporary.rglob("*") if file.is_file())
        write_json(temporary / DIGESTS, {file.relative_to(temporary).as_posix(): digest_file(file) for file in files})
        for file in files:
            os.chmod(file, 0o644)  # safetensors writes its files readable by their owner alone
            _sync(file)
        os.chmod(temporary, 0o755)
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


OURS = ("compression.json", "recovery.json", "source.json", "calibration.json", "allocation.json", "world.json")


def verify_folder(path: str | Path) -> str:
    """Check every file of an artifact folder against its `digests.json`; return the digest of the whole.

    A checkpoint from elsewhere has no `digests.json` and nothing to be checked against: its files are digested as they
    are. A folder that this project wrote has lost its `digests.json` if there is none, which is an error.
    """
    path = Path(path)
    if not path.is_dir():
        raise PalimpsestError(f"{path}: there is no such folder.")
    if not (path / DIGESTS).exists():
        if made := [name for name in OURS if (path / name).exists()]:
            raise DamagedArtifact(
                f"{path / DIGESTS}: missing beside {made[0]}, so nothing here can be checked. "
                f"Delete {path} and run the study again."
            )
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest_json({file.relative_to(path).as_posix(): digest_file(file) for file in files})
    expected = read_json(path / DIGESTS)
    if not isinstance(expected, dict):
        raise DamagedArtifact(f"{path / DIGESTS}: not a list of digests. Delete {path} and run the study again.")
    for name, digest in sorted(expected.items()):
        file = path / name
        if not file.exists():
            raise DamagedArtifact(
                f"{file}: missing, though {path / DIGESTS} names it. Delete {path} and run the study again."
            )
        if (found := digest_file(file)) != digest:
            raise DamagedArtifact(
                f"{file}: its SHA-256 is {found[:12]}…, {DIGESTS} says {digest[:12]}…: the file was changed or damaged "
                f"after it was made. Delete {path} and run the study again."
            )
    return digest_json(expected)


def folder_digest(path: str | Path) -> str:
    """The digest that `verify_folder` returns, read from `digests.json` without reading the files again."""
    path = Path(path)
    return digest_json(read_json(path / DIGESTS)) if (path / DIGESTS).exists() else verify_folder(path)


def _replace_folder(source: Path, target: Path) -> None:
    """Rename `source` to `target`, moving aside what is there; two jobs that do so at once take turns."""
    parent = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        if target.exists():
            aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".old"))
            os.replace(target, aside / target.name)
            os.replace(source, target)
            shutil.rmtree(aside)
        else:
            os.replace(source, target)
    finally:
        os.close(parent)  # which also releases the lock


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
