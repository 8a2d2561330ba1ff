"""What a variant weighs: counted from its files, the same in every run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open

from palimpsest.compression import artifact
from palimpsest.compression.checkpoint import Checkpoint

Measured = tuple[str, float, str]  # metric, value, unit


def sizes(cell_folder: Path, adapter_folder: Path | None) -> Iterator[Measured]:
    """Bytes, bits per weight and parameters.

    bytes_artifact: what the method keeps of the matrices that methods compress (dense: those matrices as they are).
    bytes_total: that, the dense tensors it still refers to (embeddings, norms, head), and the adapter.
    bits_per_weight: 8 · bytes_artifact over the parameters of those matrices.
    """
    record = artifact.read_record(cell_folder)
    checkpoint = Checkpoint(artifact.base_folder(cell_folder, record))
    stored = record["sizes"]
    # A matrix that is left dense counts as it is, so that every cell is compared on the same matrices.
    kept = record["layers"]
    layers = [
        checkpoint.layer_name(number, layer)
        for number in range(checkpoint.blocks())
        for layer in checkpoint.family.layers
    ]
    plain = [checkpoint.size(checkpoint.tensor_name(layer)) for layer in layers if _is_dense(kept, layer)]
    weights = sum(checkpoint.size(checkpoint.tensor_name(layer))[0] for layer in layers)
    dense_bytes = sum(size for _, size in plain)
    packed = stored["payload_bytes"] + dense_bytes
    extra, adapter_bytes = _adapter(adapter_folder)
    yield "bytes_artifact", packed, "bytes"
    yield "bytes_total", stored["payload_bytes"] + stored["dense_bytes_referred"] + adapter_bytes, "bytes"
    yield "bytes_adapter", adapter_bytes, "bytes"
    yield "bits_per_weight", 8 * packed / weights, "bits"
    yield "parameters", stored["parameters"], "parameters"
    yield "parameters_extra", extra, "parameters"


def _is_dense(kept: dict[str, dict], layer: str) -> bool:
    return layer not in kept or kept[layer]["kind"] == "dense"


def _adapter(folder: Path | None) -> tuple[int, int]:
    """Parameters and bytes of an adapter's tensors."""
    if folder is None:
        return 0, 0
    parameters = size = 0
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        for name in sorted(file.keys()):
            part = file.get_slice(name)
            count = math.prod(part.get_shape())
            parameters += count
            size += count * file.get_tensor(name).element_size()
    return parameters, size
