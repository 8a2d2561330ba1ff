"""Attention and activations of every block while a model reads a text, whatever wraps the model.

They are taken by hooks where they arise, during a pass of the evaluation's own engine: a prompt stands before the text
as it does there. Of a prompt nothing is kept: neither its own positions nor the attention that goes to it; what the
text's tokens pay to each other is brought back to a sum of 1. The first token of a text, which has nothing but itself
to look at, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.families import FAMILIES
from palimpsest.evaluation.forward import Forward
from palimpsest.evaluation.plan import Row
from palimpsest.provenance import PalimpsestError


@dataclass(frozen=True)
class Reading:
    """What one model does with the `tokens` of a text but the first, in float32."""

    attention: Float[Tensor, "layers heads tokens keys"]  # rows of sum 1 over the text's tokens, the first among them
    activations: Float[Tensor, "layers tokens width"]  # the residual stream after each block


class Reader:
    """A model that is watched while it reads. Its attention runs step by step (`eager`), which gives the weights.

    Raises PalimpsestError for an architecture whose blocks are not known, and for an encoder.
    """

    def __init__(self, model) -> None:
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        bare.set_attn_implementation("eager")
        kind = bare.config.model_type
        family = FAMILIES.get(kind)
        if family is None or not family.causal:
            known = ", ".join(name for name, other in FAMILIES.items() if other.causal)
            raise PalimpsestError(f"similarity: the blocks of a {kind} are not known as a decoder's. Known: {known}.")
        self.forward = Forward(model, batch_size=1)
        self.context = getattr(bare.config, "max_position_embeddings", None) or 2048
        self.bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        blocks = bare.get_submodule(family.blocks)
        self._attention: list[Tensor | None] = [None] * len(blocks)
        self._activations: list[Tensor | None] = [None] * len(blocks)
        for number, block in enumerate(blocks):
            block.get_submodule(family.layers[0].rpartition(".")[0]).register_forward_hook(self._see_attention(number))
            block.register_forward_hook(self._see_activations(number))

    def _see_attention(self, number: int):
        def see(module, inputs, output) -> None:
            self._attention[number] = output[1]

        return see

    def _see_activations(self, number: int):
        def see(module, inputs, output) -> None:
            self._activations[number] = output[0] if isinstance(output, tuple) else output

        return see

    def read(self, tokens: Sequence[int]) -> Reading:
        """Read one text. A pass that chooses a prompt may come first: what counts is the last one."""
        length = len(tokens)
        if length + self.forward.virtual_tokens > self.context:
            raise PalimpsestError(
                f"similarity: a prompt of {self.forward.virtual_tokens} tokens leaves no room for texts of {length} in "
                f"a context of {self.context}. Leave `similarity` out, or make the prompt shorter."
            )
        for _ in self.forward.logits([Row(tuple(tokens), length - 1)], share=False):
            pass
        # (rows, heads, queries, keys) and (rows, positions, width): the text is at the end of both.
        weights = torch.stack([weights[0, :, 1 - length :, -length:] for weights in self._attention]).float()
        states = torch.stack([states[0, 1 - length :] for states in self._activations]).float()
        return Reading((weights / weights.sum(-1, keepdim=True)).cpu(), states.cpu())
