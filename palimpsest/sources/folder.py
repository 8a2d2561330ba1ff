"""Dense checkpoints from a local folder in Hugging Face's format."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.compression.families import FAMILIES
from palimpsest.provenance import PalimpsestError, atomic_folder, read_json, write_json

WEIGHTS = "*.safetensors"
OTHER = (
    "config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "LICENSE*",
)  # fmt: skip


def find(path: str) -> Path:
    """A path of a study: absolute, else under the folder that PALIMPSEST_DATA names.

    Raises PalimpsestError where it is relative and PALIMPSEST_DATA is not set, or where nothing is there.
    """
    if not os.path.isabs(path):
        root = os.environ.get("PALIMPSEST_DATA")
        if not root:
            raise PalimpsestError(
                f"{path}: a relative path is looked for under PALIMPSEST_DATA, which is not set. "
                f"Write e.g. `export PALIMPSEST_DATA=/data` (for /data/{path}), or an absolute path in the study."
            )
        path = os.path.join(root, path)
    if not os.path.exists(path):
        raise PalimpsestError(
            f"{path}: there is no such file or folder. PALIMPSEST_DATA is {os.environ.get('PALIMPSEST_DATA')!r}."
        )
    return Path(path)


def files_of(source: Path) -> list[str]:
    """The files of a checkpoint that are taken: weights, configuration, tokenizer."""
    return sorted({str(file) for pattern in (WEIGHTS, *OTHER) for file in source.glob(pattern)})


def import_folder(
    source: str | Path, output: str | Path, kind: str = "decoder", provenance: Mapping[str, Any] | None = None
) -> None:
    """Copy weights (safetensors only), configuration and tokenizer; refuse what is missing, truncated or executable.

    kind: "decoder" or "encoder"; a checkpoint that is known to be the other one is refused. provenance: what
    source.json says instead of the folder's name.
    """
    source = Path(source)
    if not source.is_dir():
        raise PalimpsestError(f"{source}: there is no such folder.")
    weights = sorted(source.glob(WEIGHTS))
    if not (source / "config.json").exists():
        raise PalimpsestError(f"{source}: no config.json; a checkpoint in Hugging Face's format has one.")
    if not weights:
        pickled = sorted(file.name for file in source.glob("*.bin")) + sorted(
            file.name for file in source.glob("*.pt*")
        )
        found = f" ({', '.join(pickled)} can run code when loaded and is not read)" if pickled else ""
        raise PalimpsestError(f"{source}: no *.safetensors file{found}. Convert the checkpoint to safetensors first.")
    check_kind(read_json(source / "config.json").get("model_type"), kind, source)
    for file in weights:
        check_safetensors(file)
    with atomic_folder(output) as folder:
        for file in files_of(source):
            shutil.copyfile(file, folder / os.path.basename(file))
        write_json(folder / "source.json", provenance or {"source": "folder", "name": source.name})


def check_kind(model_type: str | None, kind: str, source: Path) -> None:
    """Check that an architecture is of the kind that the study says; one that is not known may be either."""
    if model_type not in FAMILIES:
        return
    found = "decoder" if FAMILIES[model_type].causal else "encoder"
    if found != kind:
        raise PalimpsestError(
            f"{source / 'config.json'}: the model_type {model_type} is of the type {found}, and the study says {kind}. "
            f"Write `type: {found}` beside its `source`."
        )


def check_safetensors(path: Path) -> None:
    """Check that header and length of a safetensors file agree, so that a truncated file is found before it is used."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise PalimpsestError(
            f"{path}: not a safetensors file or damaged ({error}). Copy it again from where it came."
        ) from None
    if 8 + length + end != size:
        raise PalimpsestError(
            f"{path}: {size:,} bytes, but its header promises {8 + length + end:,}: the file is truncated or damaged. "
            "Copy it again from where it came."
        )
