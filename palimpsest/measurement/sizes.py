"""What a variant weighs: counted from its files, the same in every run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open

from palimpsest.compression import artifact
from palimpsest.compression.checkpoint import Checkpoint, size_of

Measured = tuple[str, float, str]  # metric, value, unit
REPLACED = "cell"  # in an adapter's folder: the cell, with the weights that the recovery changed


def sizes(cell_folder: Path, adapter_folder: Path | None) -> Iterator[Measured]:
    """Bytes, bits per weight and parameters.

    bytes_artifact: what the method keeps of the matrices that methods compress (dense: those matrices as they are); of
        the recovery's own cell where it replaced some of them.
    bytes_adapter: the tensors beside them (peft's adapter, prompts).
    bytes_total: both, and the dense tensors that the cell still refers to (embeddings, norms, head).
    bits_per_weight: 8 · bytes_artifact over the parameters of those matrices; bits_per_weight_total: with the adapter.
    """
    if adapter_folder is not None and (adapter_folder / REPLACED).is_dir():
        cell_folder = adapter_folder / REPLACED
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
    yield "bits_per_weight_total", 8 * (packed + adapter_bytes) / weights, "bits"
    yield "parameters", stored["parameters"], "parameters"
    yield "parameters_extra", extra, "parameters"


def _is_dense(kept: dict[str, dict], layer: str) -> bool:
    return layer not in kept or kept[layer]["kind"] == "dense"


def _adapter(folder: Path | None) -> tuple[int, int]:
    """Parameters and bytes of the tensors beside the cell; not of a cell that the recovery replaced."""
    parameters = size = 0
    for path in [] if folder is None else sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                part = file.get_slice(name)
                count, nbytes = size_of(part.get_shape(), part.get_dtype())
                parameters += count
                size += nbytes
    return parameters, size
