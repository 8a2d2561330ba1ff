"""What a search has computed so far, so that one that was killed does not compute it again.

A line of JSON for each value, in a file outside the allocation's own folder; a line that was cut off is not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from palimpsest.provenance import digest_json

T = TypeVar("T")


class Memory:
    """Values by key; in `file` too, if there is one."""

    def __init__(self, file: Path | None = None) -> None:
        self.file, self._values = file, {}
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    self._values |= json.loads(line)
                except ValueError:
                    continue

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """`compute()`, which is JSON-able, or what it was before."""
        if key not in self._values:
            self._values[key] = compute()
            if self.file is not None:
                with open(self.file, "a", encoding="utf-8") as file:
                    # The line break comes first, so that a line that was cut off spoils no other.
                    file.write("\n" + json.dumps({key: self._values[key]}))
        return self._values[key]


@contextmanager
def remembering(state: Path | None, whose: Mapping[str, Any]) -> Iterator[Memory]:
    """The memory of the search that `whose` describes, in the folder `state`; gone when the block ends well."""
    if state is None:
        yield Memory()
        return
    state.mkdir(parents=True, exist_ok=True)
    file = state / f"{digest_json(whose)[:32]}.jsonl"
    yield Memory(file)
    file.unlink(missing_ok=True)
