"""Damage that is pure displacement: the outputs of some layers are reflected, and nothing is lost.

A Householder reflection I − 2vvᵀ turns the sign of what a layer writes along v. Several of them, along orthonormal
v₁ … v_r, make W into (I − 2VVᵀ)W: an orthogonal change of the outputs, which leaves all that the layer computes in
the weights, and differs from W by a matrix of rank r. So a low-rank adapter of rank r on those layers can undo it to
the last bit; biases stay as they are, since such adapters have none. The v are the left singular vectors of the r
largest singular values: along random directions a layer writes little, and its reflection damages little.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from palimpsest.provenance import PalimpsestError, atomic_folder, read_json, verify_folder, write_json
from palimpsest.sources.folder import WEIGHTS

LAYER = re.compile(r"(?:^|\.)layers\.(?P<block>\d+)\.(?:\w+\.)*(?P<module>\w+)\.weight$")


def displace(
    source: str | Path,
    output: str | Path,
    *,
    of: str,
    modules: Sequence[str] = ("q_proj", "v_proj"),
    reflections: int = 4,
    blocks: Sequence[int] | None = None,
) -> None:
    """Write the checkpoint in `source`, a model folder of the study, with `reflections` in each of some layers.

    of: the study's name of that model. modules: last names of Linear layers, in all blocks or in `blocks`.
    Raises PalimpsestError where there is no such layer, or one with fewer outputs than reflections.
    """
    source = Path(source)
    digest = verify_folder(source)
    found: set[tuple[str, int]] = set()
    with atomic_folder(output) as folder:
        for file in sorted(source.iterdir()):
            if file.match(WEIGHTS):
                with safe_open(file, framework="pt") as weights:
                    tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
                    metadata = weights.metadata()
                for name, weight in tensors.items():
                    match = LAYER.search(name)
                    if match and match["module"] in modules and (blocks is None or int(match["block"]) in blocks):
                        found.add((match["module"], int(match["block"])))
                        _check_rank(source, name, weight, reflections)
                        tensors[name] = reflected(weight, reflections)
                save_file(tensors, folder / file.name, metadata=metadata)
            elif file.name not in ("digests.json", "source.json"):
                shutil.copyfile(file, folder / file.name)
        _check_found(source, modules, blocks, found)
        write_json(
            folder / "source.json",
            derived("displaced", source, of, digest)
            | {"modules": list(modules), "reflections": reflections, "blocks": sorted({block for _, block in found})},
        )


def reflected(weight: Float[Tensor, "out in"], reflections: int) -> Float[Tensor, "out in"]:
    """(I − 2VVᵀ)W with the left singular vectors V of the largest singular values; its own inverse."""
    wide = weight.double()
    vectors = torch.linalg.svd(wide, full_matrices=False).U[:, :reflections]
    return (wide - 2 * vectors @ (vectors.T @ wide)).to(weight.dtype).contiguous()


def derived(kind: str, source: Path, of: str, digest: str) -> dict[str, Any]:
    """What `source.json` says of a model that was made from another one of the study."""
    made_of = read_json(source / "source.json") if (source / "source.json").exists() else None
    return {"source": kind, "of": of, "of_digest": digest, "of_source": made_of}


def _check_rank(source: Path, name: str, weight: Tensor, reflections: int) -> None:
    if weight.ndim != 2 or reflections > min(weight.shape):
        shape = " by ".join(map(str, weight.shape))
        raise PalimpsestError(
            f"{source}: {name} is {shape}: it has no {reflections} directions to reflect. Write e.g. reflections: 4."
        )


def _check_found(
    source: Path, modules: Sequence[str], blocks: Sequence[int] | None, found: set[tuple[str, int]]
) -> None:
    for module in modules:
        there = {block for name, block in found if name == module}
        if not there or (blocks is not None and set(blocks) - there):
            where = "" if blocks is None else f" in blocks {', '.join(map(str, sorted(set(blocks) - there)))}"
            raise PalimpsestError(
                f"{source}: no layer {module}{where} to displace. Write modules: [v_proj], and blocks that there are."
            )
