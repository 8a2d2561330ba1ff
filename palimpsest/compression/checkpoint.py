"""A dense checkpoint on disk: a Hugging Face folder whose tensors are read one at a time from safetensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from palimpsest.compression.families import Family, family_of
from palimpsest.provenance import DamagedArtifact, PalimpsestError, read_json, verify_folder


class Stored(NamedTuple):
    """Where a tensor is, and what the header of that file says of it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


class Checkpoint:
    """The tensors of a dense folder by name. Opening it checks the folder's digests (if it has them) and its files.

    A file is opened anew for each tensor: what is read of a mapped file counts as memory for as long as the mapping
    lasts, and this one ends with the tensor.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.digest = verify_folder(self.folder)
        if not (self.folder / "config.json").is_file():
            raise PalimpsestError(
                f"{self.folder}: no config.json here: this is not a model folder in Hugging Face's format."
            )
        self.config = read_json(self.folder / "config.json")
        self._stored: dict[str, Stored] = {}
        for path in _weight_files(self.folder):
            with reading(path), safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dict
                    part = file.get_slice(name)
                    self._stored[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())

    @property
    def names(self) -> list[str]:
        return sorted(self._stored)

    @property
    def family(self) -> Family:
        """Where the blocks and their matrices are; an error for an architecture that is not known."""
        return family_of(self.config, self.folder)

    def tensor(self, name: str) -> Tensor:
        """One tensor, in the checkpoint's data type."""
        path = self._find(name).file
        with reading(path), safe_open(path, framework="pt") as file:
            return file.get_tensor(name)

    def _find(self, name: str) -> Stored:
        if name not in self._stored:
            raise PalimpsestError(f"{self.folder}: the checkpoint has no tensor {name!r}.")
        return self._stored[name]

    @property
    def blocks_path(self) -> str:
        """Where the loaded model has its blocks; an encoder is loaded as the class that it was saved as."""
        return self.family.blocks if self.family.causal else self.prefix.removesuffix(".")

    def layer_name(self, number: int, layer: str) -> str:
        """What the loaded model calls a matrix of block `number`, e.g. model.layers.0.self_attn.q_proj."""
        return f"{self.blocks_path}.{number}.{layer}"

    def tensor_name(self, layer_name: str) -> str:
        """What the checkpoint calls it."""
        return f"{self.prefix}{layer_name.removeprefix(f'{self.blocks_path}.')}.weight"

    def matrix_shape(self, layer_name: str) -> tuple[int, int]:
        """(out, in) of a layer's weight, without reading it."""
        rows, columns = self._find(self.tensor_name(layer_name)).shape
        return (columns, rows) if self.family.transposed else (rows, columns)

    def matrix(self, layer_name: str) -> Tensor:
        """The weight (out, in) of a layer."""
        weight = self.tensor(self.tensor_name(layer_name))
        return weight.T.contiguous() if self.family.transposed else weight

    def size(self, name: str) -> tuple[int, int]:
        """Number of elements and of bytes, without reading them."""
        stored = self._find(name)
        return size_of(stored.shape, stored.dtype)

    def blocks(self) -> int:
        """How many blocks the checkpoint has."""
        pattern = re.compile(re.escape(self.prefix) + r"(\d+)\.")
        numbers = {int(match[1]) for name in self._stored if (match := pattern.match(name))}
        if not numbers or numbers != set(range(len(numbers))):
            raise PalimpsestError(f"{self.folder}: the checkpoint has no tensors {self.prefix}0.…: is it complete?")
        return len(numbers)

    @property
    def prefix(self) -> str:
        """What the names of the blocks' tensors begin with. Base models were often saved without their first part."""
        whole = f"{self.family.blocks}."
        short = whole.split(".", 1)[1]
        return short if not any(name.startswith(whole) for name in self._stored) else whole


def size_of(shape: Sequence[int], dtype: str) -> tuple[int, int]:
    """Number of elements and of bytes of a tensor, by what the header of a safetensors file says of it."""
    count = prod(shape)
    bits = int(re.search(r"\d+", dtype)[0]) if dtype != "BOOL" else 8
    return count, count * bits // 8


class reading:
    """Turn what safetensors says of a broken file into a DamagedArtifact that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SafetensorError):
            raise DamagedArtifact(
                f"{self.path}: not a whole safetensors file ({error}): cut off or damaged. Delete it and get it again."
            ) from None


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    for name in names:
        if not (folder / name).is_file():
            others = sorted(path.name for path in folder.glob("*.bin")) + sorted(
                path.name for path in folder.glob("*.pt*")
            )
            pickles = f" {others[0]} is a pickle, which can run code and is not read." if others else ""
            raise PalimpsestError(f"{folder / name}: missing.{pickles} Weights are read from safetensors only.")
    return [folder / name for name in names]
