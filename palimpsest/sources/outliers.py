"""The same function with outlier channels: what large models have and small ones lack.

A few channels of the residual stream are made `scale` times as large where blocks read it: their entries of the norms'
weights are multiplied by it, and the columns of the matrices that follow are divided by it. In exact arithmetic the
model computes what it did before; to a quantizer of activations those channels hide all others, and to one of weights
the columns that matter most are the smallest (Dettmers et al., arXiv:2208.07339, find such channels in models of
6.7 billion parameters and more, the same ones in all layers).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError, atomic_folder, read_json, verify_folder, write_json
from palimpsest.sources.folder import WEIGHTS

# Per-channel norm of a block -> the matrices that read its output, and nothing else does. Post-norm models (BERT) have
# none: what their norms put out is the residual stream too.
_LLAMA = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
READERS = {"llama": _LLAMA, "mistral": _LLAMA, "qwen2": _LLAMA, "qwen3": _LLAMA}
TENSOR = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)\.weight$")


def add_outliers(
    source: str | Path, output: str | Path, *, of: str, channels: int = 4, scale: float = 30.0, seed: int = 0
) -> None:
    """Write the checkpoint in `source`, a model folder of the study, with outliers in `channels` channels.

    of: the study's name of that model. seed: draws the channels, the same ones before every matrix of every block.
    Raises PalimpsestError where the architecture is not known to have such norms, or has fewer channels.
    """
    import torch

    source = Path(source)
    digest = verify_folder(source)
    config = read_json(source / "config.json")
    readers = readers_of(config, channels, str(source / "config.json"))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(config["hidden_size"], generator=generator)[:channels].sort().values
    with atomic_folder(output) as folder:
        found = set()
        for file in sorted(source.iterdir()):
            if file.match(WEIGHTS):
                found |= _rescale(file, folder / file.name, readers, chosen, scale)
            elif file.name not in ("digests.json", "source.json"):
                shutil.copyfile(file, folder / file.name)
        _check_whole(source, found, readers, config["num_hidden_layers"])
        made_of = {"source": "outliers", "of": of, "of_digest": digest, "of_source": _origin(source)}
        made_of |= {"channels": chosen.tolist(), "scale": scale, "seed": seed}
        write_json(folder / "source.json", made_of)


def readers_of(config: Mapping[str, Any], channels: int, place: str) -> dict[str, tuple[str, ...]]:
    """Norm -> matrices of this architecture; PalimpsestError, which names `place`, if it cannot have the outliers."""
    kind = config.get("model_type")
    if kind not in READERS:
        raise PalimpsestError(
            f"{place}: model_type is {kind!r}; outliers need blocks whose norms are read by known matrices and by "
            f"nothing else. Known: {', '.join(READERS)}."
        )
    if channels > config["hidden_size"]:
        raise PalimpsestError(
            f"{place}: {channels} outlier channels, and the model has {config['hidden_size']}. Write e.g. channels: 4."
        )
    return READERS[kind]


def _rescale(file: Path, output: Path, readers: Mapping[str, tuple[str, ...]], chosen, scale: float) -> set:
    """Copy a file of weights with norms multiplied and columns divided; returns the (block, module) it did that to."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    matrices = {matrix for following in readers.values() for matrix in following}
    tensors, done = {}, set()
    with safe_open(file, framework="pt") as weights:
        metadata = weights.metadata()
        for name in weights.keys():  # noqa: SIM118 (a safetensors file is no mapping)
            tensor, match = weights.get_tensor(name), TENSOR.search(name)
            module = match and match[2]
            if module in readers or module in matrices:
                factor = torch.ones(tensor.shape[-1])
                factor[chosen] = scale if module in readers else 1 / scale
                tensor = (tensor.float() * factor).to(tensor.dtype)
                done.add((int(match[1]), module))
            tensors[name] = tensor
    save_file(tensors, output, metadata=metadata)
    return done


def _check_whole(source: Path, found: set, readers: Mapping[str, tuple[str, ...]], blocks: int) -> None:
    for block in range(blocks):
        for norm, matrices in readers.items():
            if missing := [module for module in (norm, *matrices) if (block, module) not in found]:
                raise PalimpsestError(f"{source}: block {block} has no {missing[0]}.weight: outliers cannot be added.")


def _origin(source: Path) -> Any:
    return read_json(source / "source.json") if (source / "source.json").exists() else None
