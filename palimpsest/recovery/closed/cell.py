"""A cell on disk, as repairs read it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from palimpsest import levels
from palimpsest.compression import artifact
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.weights import CompressedWeight, Dense
from palimpsest.provenance import folder_digest


class Cell:
    """Its record, its dense checkpoint, and its layers, read when they are wanted.

    also: layers that are to be repaired although the cell left them dense.
    """

    def __init__(self, folder: Path | str, also: Collection[str] = ()) -> None:
        self.folder, self.digest = Path(folder), folder_digest(folder)
        self.record = artifact.read_record(self.folder)
        self.checkpoint = Checkpoint(artifact.base_folder(self.folder, self.record))
        self.compressed = [name for name, said in self.record["layers"].items() if said["kind"] != "dense"]
        self.also = frozenset(also) - set(self.compressed)

    @property
    def names(self) -> list[str]:
        """All matrices of all blocks."""
        checkpoint = self.checkpoint
        return [
            checkpoint.layer_name(number, layer)
            for number in range(checkpoint.blocks())
            for layer in checkpoint.family.layers
        ]

    def layers(self, names: Collection[str]) -> dict[str, CompressedWeight]:
        """Those of these layers that are compressed, or are to be repaired all the same."""
        found = artifact.read_layers(self.folder, self.record, names) if self.compressed else {}
        return found | {name: Dense(self.checkpoint.matrix(name)) for name in names if name in self.also}

    def level(self, name: str) -> levels.Level | None:
        """The level of a layer; None where it was left dense."""
        said = self.record["layers"].get(name, {}).get("level", "dense")
        return None if said == "dense" else levels.parse(said)
