"""What a walk has done so far, block by block, so that a walk that was killed goes on at the block it was in.

The state of a walk is a folder outside the cell's own: `walk.json` says whose it is, and each finished block has its
tensors (`block-0003.safetensors`) and, written last, `block-0003.json` with their digest and what is said of them.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from palimpsest.compression.tensorfile import TensorFile
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError, atomic_file, digest_file, digest_json, read_json, write_json

RECORD = "walk.json"
Entries = dict[str, dict[str, Any]]


class Progress:
    """The finished blocks of one walk of one cell, in `folder`."""

    def __init__(self, folder: Path, whose: Mapping[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        record = {"fingerprint": digest_json(whose), "walk": whose}
        if not (folder / RECORD).exists():
            write_json(folder / RECORD, record)
        elif (found := read_json(folder / RECORD))["fingerprint"] != record["fingerprint"]:
            differing = sorted(key for key in whose if found["walk"].get(key) != whose[key])
            raise PalimpsestError(
                f"{folder}: the state of another run, which differs in {', '.join(differing)}: it is not resumed. "
                "Delete the folder, or name another one."
            )

    def finished(self) -> int:
        """How many blocks are done."""
        number = 0
        while (self._record(number)).exists():
            number += 1
        return number

    def save(self, number: int, layers: Mapping[str, CompressedWeight], entries: Entries) -> None:
        """Keep a finished block; layers that are left dense have no tensors."""
        with atomic_file(self._tensors(number)) as temporary:
            file = TensorFile(temporary)
            for layer, weight in layers.items():
                if weight.kind != "dense":
                    for part, tensor in sorted(weight.tensors().items()):
                        file.add(f"{layer}.{part}", tensor)
            file.close()
        write_json(self._record(number), {"digest": digest_file(self._tensors(number)), "layers": entries})

    def entries(self, number: int) -> Entries:
        """What is said of the layers of a finished block; its tensors are checked against their digest."""
        record = read_json(self._record(number))
        if digest_file(self._tensors(number)) != record["digest"]:
            raise PalimpsestError(
                f"{self._tensors(number)}: not what was written: damaged. Delete {self.folder} and run the study again."
            )
        return record["layers"]

    def tensors(self, number: int) -> Iterator[tuple[str, Tensor]]:
        """The stored tensors of a finished block, one at a time."""
        with safe_open(self._tensors(number), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                yield name, file.get_tensor(name)

    def layers(self, number: int) -> dict[str, CompressedWeight]:
        """The compressed layers of a finished block."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors(number):
            layer, part = name.rsplit(".", 1)
            parts.setdefault(layer, {})[part] = tensor
        entries = self.entries(number)
        return {layer: CompressedWeight.from_tensors(found, entries[layer]) for layer, found in parts.items()}

    def _tensors(self, number: int) -> Path:
        return self.folder / f"block-{number:04d}.safetensors"

    def _record(self, number: int) -> Path:
        return self.folder / f"block-{number:04d}.json"


@contextmanager
def progress(output: Path, whose: Mapping[str, Any], state: Path | None) -> Iterator[Progress]:
    """The progress of the walk that writes `output`; gone when the block ends well.

    state: the folder in which walks that were killed are kept, each under the digest of what it is; None keeps none. A
    state that another process is using is left to it.
    """
    if state is not None:
        folder = state / digest_json(whose)[:32]
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_suffix(".lock"), "w")  # noqa: SIM115 - held for as long as the walk
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            with lock:
                yield Progress(folder, whose)
                shutil.rmtree(folder)
                Path(lock.name).unlink(missing_ok=True)
            return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.", suffix=".walk") as folder:
        yield Progress(Path(folder), whose)
