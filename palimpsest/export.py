"""A cell as a folder that others read: a plain Hugging Face checkpoint, or packed integers as compressed-tensors.

Both are written tensor by tensor from the dense checkpoint, so that a model larger than the memory can be exported.
`export.json` says what was exported and what a plain folder cannot say.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palimpsest.compression import artifact
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.tensorfile import TensorFile
from palimpsest.compression.weights import CompressedWeight, Quantized
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, write_json
from palimpsest.sources.folder import OTHER

FORMATS = ("huggingface", "compressed-tensors")
SHARD = 5 * 10**9  # bytes a weight file, as transformers has it
# Architectures whose config.json can say that matrices have a bias, by the matrices' part of the block.
BIAS_KEYS = {"self_attn": "attention_bias", "mlp": "mlp_bias"}

Named = Iterator[tuple[str, Tensor]]


def export(cell_folder: Path | str, output_folder: Path | str, form: str = "huggingface") -> None:
    """Write the cell in `cell_folder` to `output_folder` in the format `form` (one of FORMATS).

    huggingface: the matrices that the cell stands for, in the checkpoint's data type; any cell. Rounded activations
        (W8A8, LLM.int8()) are not part of such a folder: `left_out` in export.json says so.
    compressed-tensors: packed integers with scales and zeros, which transformers reads; cells whose every
        compressed layer is on a uniform grid of whole groups of neighbours.
    Raises PalimpsestError where a format cannot say what the cell is; then nothing is written.
    """
    if form not in FORMATS:
        raise PalimpsestError(f"{form!r} is no export format; there are {', '.join(FORMATS)}.")
    cell = Path(cell_folder)
    record = artifact.read_record(cell)
    if "replaced" in record:
        raise PalimpsestError(f"{cell}: a fine-tuned cell, whose dense tensors changed too, is not exported.")
    checkpoint = Checkpoint(artifact.base_folder(cell, record))
    layers = artifact.read_layers(cell, record) if record["layers"] else {}
    config, tensors = (_plain if form == "huggingface" else _packed)(cell, checkpoint, layers)
    with atomic_folder(output_folder) as folder:
        for pattern in OTHER:
            for file in checkpoint.folder.glob(pattern):
                if not file.name.endswith("index.json"):
                    shutil.copyfile(file, folder / file.name)
        write_json(folder / "config.json", config)
        _write_shards(folder, tensors)
        rounded = any(weight.activation_bits for weight in layers.values())
        said = {key: record[key] for key in ("method", "label", "level", "seed", "options", "sizes")}
        write_json(
            folder / "export.json",
            said
            | {"format": form, "cell": folder_digest(cell), "dense": checkpoint.digest}
            | {"left_out": ["rounding of activations to 8 bits"] if rounded else []},
        )


def _plain(cell: Path, checkpoint: Checkpoint, layers: dict[str, CompressedWeight]) -> tuple[dict[str, Any], Named]:
    config, biases = dict(checkpoint.config), _biases(cell, checkpoint, layers)
    config |= {BIAS_KEYS[part]: True for part in {_part(checkpoint, name) for name in biases}}
    by_tensor = {checkpoint.tensor_name(name): weight for name, weight in layers.items()}

    def tensors() -> Named:
        for name in checkpoint.names:
            if name in by_tensor:
                dense = by_tensor[name].dense()
                yield name, dense.T.contiguous() if checkpoint.family.transposed else dense
            elif name.removesuffix(".bias") not in biases:
                yield name, checkpoint.tensor(name)
        for name, bias in biases.items():
            yield f"{name}.bias", bias

    return config, tensors()


def _part(checkpoint: Checkpoint, name: str) -> str:
    """The part of a block that a tensor is in: `mlp` of model.layers.0.mlp.down_proj."""
    return name.removeprefix(checkpoint.prefix).split(".")[1]


def _biases(cell: Path, checkpoint: Checkpoint, layers: dict[str, CompressedWeight]) -> dict[str, Tensor]:
    """Tensor name without its ending -> bias, of every matrix that has one afterwards and whose bias changes."""
    own = {checkpoint.tensor_name(name).removesuffix(".weight"): weight.bias for name, weight in layers.items()}
    changed = {name: bias for name, bias in own.items() if bias is not None}
    have = {name.removesuffix(".bias") for name in checkpoint.names if name.endswith(".bias")}
    found = {name: bias + checkpoint.tensor(f"{name}.bias") for name, bias in changed.items() if name in have}
    new = {_part(checkpoint, name) for name in changed.keys() - have}
    for part in sorted(new):
        if BIAS_KEYS.get(part) not in checkpoint.config:
            raise PalimpsestError(
                f"{cell}: its method gives {part} a bias, and config.json has no key that says so "
                f"({checkpoint.config.get('model_type')}): it cannot be a plain Hugging Face folder. Load it with "
                "palimpsest.load."
            )
        # The key is for all matrices of that part, of every block.
        for number in range(checkpoint.blocks()):
            for layer in checkpoint.family.layers:
                name = checkpoint.tensor_name(checkpoint.layer_name(number, layer)).removesuffix(".weight")
                if _part(checkpoint, name) == part and name not in have:
                    rows = checkpoint.matrix_shape(checkpoint.layer_name(number, layer))[0]
                    dtype = checkpoint.tensor(f"{name}.weight").dtype
                    found[name] = torch.zeros(rows, dtype=dtype) if changed.get(name) is None else changed[name]
    return found


def _packed(cell: Path, checkpoint: Checkpoint, layers: dict[str, CompressedWeight]) -> tuple[dict[str, Any], Named]:
    try:
        from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    except ImportError:
        raise PalimpsestError(
            "The export to compressed-tensors needs that package: pip install 'palimpsest[export]'."
        ) from None
    if not layers:
        raise PalimpsestError(f"{cell}: nothing is quantized here; export it as a plain Hugging Face folder.")
    groups: dict[tuple, list[str]] = defaultdict(list)
    for name, weight in layers.items():
        if reason := _not_packable(weight, checkpoint):
            raise PalimpsestError(
                f"{cell}: {name} {reason}: compressed-tensors cannot say that. Export it as huggingface."
            )
        group = weight.group if weight.scales.shape[1] > 1 else None
        groups[weight.bits, group, weight.zeros is None].append(name)
    if len(groups) > 1 and not all(symmetric for _, _, symmetric in groups):
        raise PalimpsestError(
            f"{cell}: layers with different grids ({len(groups)}) that have zeros: transformers reads several grids "
            "only where they are symmetric (options: {symmetric: true}). Export it as huggingface."
        )
    dense = {checkpoint.layer_name(n, layer) for n in range(checkpoint.blocks()) for layer in checkpoint.family.layers}
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        # Unpacked while it loads: transformers knows one grid then, and mistakes the shape of packed zeros otherwise.
        "dequantize": len(groups) == 1,
        "ignore": [*sorted(dense - layers.keys()), "lm_head"],
        "config_groups": {
            f"group_{number}": {"targets": sorted(names), "weights": _arguments(*key)}
            for number, (key, names) in enumerate(sorted(groups.items(), key=str))
        },
    }
    by_tensor = {checkpoint.tensor_name(name): weight for name, weight in layers.items()}
    config = checkpoint.config | {"quantization_config": quantization}
    # Scales of 16 bits are float16, which bfloat16 cannot hold: then everything is float16.
    halves = any(weight.dtype == torch.bfloat16 for weight in layers.values())
    if halves:
        config = {key: value for key, value in config.items() if key != "torch_dtype"} | {"dtype": "float16"}

    def plain(name: str) -> Tensor:
        tensor = checkpoint.tensor(name)
        if not halves or not tensor.is_floating_point():
            return tensor
        if tensor.abs().max() > torch.finfo(torch.float16).max:
            raise PalimpsestError(f"{cell}: {name} has values that float16 cannot hold. Export it as huggingface.")
        return tensor.half()

    def tensors() -> Named:
        for name in checkpoint.names:
            if name not in by_tensor:
                yield name, plain(name)
                continue
            weight, start = by_tensor[name], name.removesuffix("weight")
            # Their integers are signed: ours are shifted by half the range.
            half = 2 ** (weight.bits - 1)
            yield f"{start}weight_packed", pack_to_int32((weight.codes.int() - half).to(torch.int8), weight.bits)
            yield f"{start}weight_scale", weight.scales.to(torch.float16 if halves else weight.dtype)
            yield f"{start}weight_shape", torch.tensor(weight.shape)
            if weight.zeros is not None:
                zeros = (weight.zeros.int() - half).to(torch.int8)
                yield f"{start}weight_zero_point", pack_to_int32(zeros, weight.bits, packed_dim=0)

    return config, tensors()


def _not_packable(weight: CompressedWeight, checkpoint: Checkpoint) -> str | None:
    """Why a layer is no packed uniform grid; None if it is one."""
    if type(weight) is not Quantized:
        return f"is {weight.kind}"
    if checkpoint.family.transposed:
        return "is stored (in, out)"
    if weight.input_scale is not None:
        return "divides its inputs by a scale of its own"
    if weight.bias is not None:
        return "has a bias of its own"
    if weight.zeros is not None and weight.zeros.is_floating_point():
        return "has zeros that are no integers"
    if weight.scales.shape[1] > 1 and (not weight.runs or weight.shape[1] % weight.group):
        return "has groups that are not whole runs of neighbours"
    if weight.dtype != torch.float32 and weight.scales.dtype == torch.float32:
        return "has scales of 32 bits beside weights of 16"
    return None


def _arguments(bits: int, group: int | None, symmetric: bool) -> dict[str, Any]:
    strategy = {"strategy": "channel"} if group is None else {"strategy": "group", "group_size": group}
    return {"num_bits": bits, "type": "int", "symmetric": symmetric, "dynamic": False} | strategy


def _write_shards(folder: Path, tensors: Named) -> None:
    """model.safetensors, or several files with their index where there is more than SHARD."""
    files, names, size = [], defaultdict(list), 0
    for name, tensor in tensors:
        if not files or size + tensor.nbytes > SHARD:
            size = 0
            files.append(TensorFile(folder / f"{len(files)}.part"))
        files[-1].add(name, tensor)
        names[len(files) - 1].append(name)
        size += tensor.nbytes
    weight_map = {}
    for number, file in enumerate(files):
        one = f"model-{number + 1:05d}-of-{len(files):05d}.safetensors" if len(files) > 1 else "model.safetensors"
        file.close()
        (folder / f"{number}.part").rename(folder / one)
        weight_map |= dict.fromkeys(names[number], one)
    if len(files) > 1:
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
