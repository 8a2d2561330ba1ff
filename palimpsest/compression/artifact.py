"""The artifact of a cell: `weights.safetensors` with what the method keeps, and `compression.json` with what it is.

What was not compressed (embeddings, norms, head) is not copied: the artifact refers to the dense checkpoint by its path
and digest. Only fine-tuning changes some of that, which is then in `dense.safetensors`. There are no dates and no run
times in it: the same cell has the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from palimpsest.compression.checkpoint import reading
from palimpsest.compression.tensorfile import TensorFile
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, read_json, verify_folder, write_json

RECORD, WEIGHTS = "compression.json", "weights.safetensors"
REPLACED = "dense.safetensors"  # dense tensors in the place of the checkpoint's, where fine-tuning changed them
FORMAT = 1


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """Write an artifact folder tensor by tensor; it appears whole, or not at all."""
    with atomic_folder(folder) as temporary:
        writer = Writer(temporary)
        yield writer
        writer.tensors.close()
        write_json(temporary / RECORD, {"format": FORMAT} | writer.record)


class Writer:
    """Add tensors (`<layer>.<part>`) to `tensors`, fill `record`. `folder` is where the artifact is written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tensors = folder, TensorFile(folder / WEIGHTS)
        self.record: dict[str, Any] = {}


def read_record(folder: Path) -> dict[str, Any]:
    """`compression.json` of an artifact whose files are all what its digests say."""
    verify_folder(folder)
    if not (folder / RECORD).is_file():
        raise PalimpsestError(f"{folder}: no {RECORD} here: this is not a compressed cell.")
    record = read_json(folder / RECORD)
    if record.get("format") != FORMAT:
        raise PalimpsestError(
            f"{folder / RECORD}: format {record.get('format')}; this version of Palimpsest reads format {FORMAT}."
        )
    return record


def read_layers(
    folder: Path, record: Mapping[str, Any], only: Collection[str] | None = None
) -> dict[str, CompressedWeight]:
    """The stored matrices by layer name, of all layers or of those in `only`; those left dense are not among them."""
    with reading(folder / WEIGHTS), safe_open(folder / WEIGHTS, framework="pt") as file:
        parts: dict[str, dict[str, Any]] = {}
        for name in file.keys():  # noqa: SIM118 - not a dict
            layer, part = name.rsplit(".", 1)
            if only is None or layer in only:
                parts.setdefault(layer, {})[part] = file.get_tensor(name)
    wanted = {layer: entry for layer, entry in record["layers"].items() if entry["kind"] != "dense"}
    wanted = {layer: entry for layer, entry in wanted.items() if only is None or layer in only}
    if missing := sorted(wanted.keys() ^ parts.keys()):
        raise PalimpsestError(f"{folder}: {RECORD} and {WEIGHTS} do not name the same layers: {missing[0]}.")
    return {layer: CompressedWeight.from_tensors(parts[layer], entry) for layer, entry in wanted.items()}


def read_replaced(folder: Path, record: Mapping[str, Any]) -> dict[str, Tensor]:
    """The dense tensors that stand in the place of the checkpoint's, by the names of the loaded model; none of most."""
    if "replaced" not in record:
        return {}
    with reading(folder / REPLACED), safe_open(folder / REPLACED, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def base_folder(folder: Path, record: Mapping[str, Any]) -> Path:
    """The dense checkpoint that a cell refers to, after checking that it is the one that the cell was made from."""
    base = Path(os.path.normpath(folder / record["base"]["path"]))
    if not base.is_dir():
        raise PalimpsestError(
            f"{folder}: made from the checkpoint {base}, and there is no such folder. Restore it, or compress again."
        )
    found, expected = folder_digest(base), record["base"]["digest"]
    if found != expected:
        raise PalimpsestError(
            f"{folder}: an artifact made from another checkpoint: it was made from {expected[:12]}…, and {base} is "
            f"{found[:12]}…. Delete {folder} and run the study again."
        )
    return base


def base_entry(model_folder: Path, output_folder: Path, digest: str) -> dict[str, str]:
    """How a cell refers to its checkpoint: by a path relative to itself, so that a study's folder can be moved."""
    return {"path": Path(os.path.relpath(model_folder, output_folder)).as_posix(), "digest": digest}
