"""What probes read: states of a variant on the rows of each probe, extracted once.

An artifact folder with `<probe>.safetensors` for each probe, in float16. Its tensors are those of the probe's kind:

    question        last                    (layers + 1, rows, width), at the question's last token
    sentence        mean, last, cls         (layers + 1, rows, width)
    word            words                   (layers + 1, probed words of all rows in order, width)
    edge            spans                   (layers + 1, rows, spans × width)
    tree            words                   (layers + 1, words of all rows in order, width)
    head            heads                   (layers, rows, heads, head width)

Layer 0 are the embeddings. Each file names the digests of the model and of the rows that it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palimpsest.probing.data import read_probe
from palimpsest.probing.kinds import kind
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, verify_folder

if TYPE_CHECKING:
    from palimpsest.settings import Probe

MADE_FROM = "made_from"


def write_features(
    model, tokenizer, probes: Mapping[str | Path, Probe], output_folder: str | Path, *, model_digest: str
) -> None:
    """Read the states of a model for each probe (the folder of its data -> what the study says of it)."""
    import torch
    from safetensors.torch import save_file

    with atomic_folder(output_folder) as folder:
        for data, options in probes.items():
            definition, rows = read_probe(data)
            with torch.inference_mode():
                found = kind(definition["kind"]).extract(model, tokenizer, rows, options)
            tensors = {name: states.to(torch.float16).cpu().contiguous() for name, states in found.items()}
            made_from = {"model": model_digest, "rows": folder_digest(data)}
            # In one entry: safetensors writes several in whatever order, and other bytes each time.
            metadata = {MADE_FROM: json.dumps(made_from, sort_keys=True)}
            save_file(tensors, folder / f"{definition['probe']}.safetensors", metadata=metadata)


def read_features(folder: str | Path, probe: str, data_folder: str | Path) -> dict[str, np.ndarray]:
    """The states of one probe, by the names of its kind; refuses those of other rows."""
    from safetensors import safe_open

    folder = Path(folder)
    verify_folder(folder)
    path = folder / f"{probe}.safetensors"
    if not path.is_file():
        raise PalimpsestError(f"{path}: no such features. Run the study again; `evaluate` writes them.")
    with safe_open(path, framework="np") as file:
        if json.loads(file.metadata()[MADE_FROM])["rows"] != folder_digest(data_folder):
            raise PalimpsestError(
                f"{path}: states of other rows than those in {data_folder}. Delete {folder} and run the study again."
            )
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
