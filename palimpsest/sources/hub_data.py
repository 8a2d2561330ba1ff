"""Data sets of the Hugging Face hub, at a commit that the study names."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from palimpsest.provenance import PalimpsestError

COMMIT = re.compile(r"[0-9a-f]{40}")


def download(repo: str, revision: str, files: Sequence[str], place: str) -> Path:
    """The folder of a snapshot that holds `files` (patterns) of a data set's repository.

    place: the key of the study that asks for it, `data.<task>`, for messages.
    Raises PalimpsestError where the revision is no commit, or the repository, the commit or a file is not there.
    """
    check(repo, revision, place)
    from huggingface_hub import HfApi, snapshot_download

    with errors_of(repo, revision, place):
        folder = Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=list(files)))
        have = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        for pattern in files:
            if not fnmatch.filter(have, pattern):
                there = HfApi().list_repo_files(repo, revision=revision, repo_type="dataset")
                raise PalimpsestError(
                    f"{place}: {repo} has no file {pattern} at {revision}. It has {_some(there)}. "
                    "Name a commit that has it."
                )
    return folder


def check(repo: str, revision: str | None, place: str) -> None:
    """Refuse a revision that is missing or can move, before anything is downloaded."""
    if revision is not None and COMMIT.fullmatch(revision):
        return
    task = place.removeprefix("data.")
    said = "no revision is named" if revision is None else f"the revision {revision!r} is not a commit"
    raise PalimpsestError(
        f"{place}: {said}. The data set {repo} of the hub is taken at a commit, 40 hexadecimal digits, which cannot "
        f'move (its page, "Files", "History"). Write\n  data:\n    {task}: {{revision: <that commit>}}'
    )


@contextlib.contextmanager
def errors_of(repo: str, revision: str | None, place: str) -> Iterator[None]:
    """Say what the hub's errors mean."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise PalimpsestError(
            f"{place}: {repo} is given out on request only. Ask for access on its page, then set HF_TOKEN."
        ) from None
    except errors.RepositoryNotFoundError:
        raise PalimpsestError(f"{place}: the hub has no data set {repo}, or it is private.") from None
    except errors.RevisionNotFoundError:
        raise PalimpsestError(f"{place}: {repo} has no commit {revision}. Copy one from its history.") from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        offline = " HF_HUB_OFFLINE is set." if os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "") else ""
        raise PalimpsestError(
            f"{place}: {repo} could not be downloaded ({' '.join(str(error).split())[:200]}).{offline}"
        ) from None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
