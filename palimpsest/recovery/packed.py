"""Layers that stay packed while an adapter beside them is trained (QLoRA, Dettmers et al., arXiv:2305.14314)."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palimpsest.compression import artifact
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError

PACKED = ("quantized", "codebook", "mixed", "sparse quantized")  # kinds whose codes have a few bits each


class PackedLinear(nn.Linear):
    """A Linear layer that keeps the stored tensors of a compressed matrix, and has its dense weight only while it runs.

    It is a Linear to peft, and so takes any adapter. Neither direction keeps the dense weight: it is computed again
    for the gradient of the input.
    """

    def __init__(self, compressed: CompressedWeight, bias: nn.Parameter | None) -> None:
        nn.Module.__init__(self)  # a Linear's own start would allocate the dense weight
        self.out_features, self.in_features = compressed.shape
        self.metadata = compressed.metadata()
        for name, tensor in compressed.tensors().items():
            self.register_buffer(f"packed_{name}", tensor, persistent=False)
        added = compressed.bias
        if added is not None:
            bias = nn.Parameter(added if bias is None else bias.detach() + added.to(bias.dtype), requires_grad=False)
        self.register_parameter("bias", bias)

    @property
    def compressed(self) -> CompressedWeight:
        """The compressed matrix; its codes take a byte each."""
        tensors = {name.removeprefix("packed_"): tensor for name, tensor in self.named_buffers(recurse=False)}
        return CompressedWeight.from_tensors(tensors, self.metadata)

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        return self.compressed.dense()

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        if "activation_bits" in self.metadata:
            x = self.compressed.prepare(x)
        product = _Product.apply(x, self)
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, layer: PackedLinear) -> Tensor:
        ctx.layer = layer
        return x @ layer.weight.to(x.dtype).T

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.layer.weight.to(gradient.dtype), None


def keep_packed(model: nn.Module, cell_folder: Path | str) -> list[str]:
    """Replace the quantized layers of a loaded cell by packed ones; return their names.

    Raises PalimpsestError where the cell has none.
    """
    folder = Path(cell_folder)
    record = artifact.read_record(folder) if (folder / artifact.RECORD).is_file() else None
    layers = artifact.read_layers(folder, record) if record else {}
    packed = {name: weight for name, weight in layers.items() if weight.kind in PACKED}
    if not packed:
        kinds = sorted({weight.kind for weight in layers.values()}) or ["dense"]
        raise PalimpsestError(
            f"{folder}: qlora trains beside layers that stay quantized, and this cell has none (its layers are "
            f"{', '.join(kinds)}). Put qlora on a cell of integers or of NF4, or use lora, which trains the same."
        )
    for name, weight in packed.items():
        model.set_submodule(name, PackedLinear(weight, model.get_submodule(name).bias))
    return list(packed)
