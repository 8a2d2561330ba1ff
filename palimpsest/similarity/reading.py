"""Attention and activations of every block while a model reads a text, whatever wraps the model.

They are taken by hooks where they arise, during a pass of the evaluation's own engine: a prompt stands before the text
as it does there. Of a prompt nothing is kept: neither its own positions nor the attention that goes to it; what the
text's tokens pay to each other is brought back to a sum of 1. The first token of a text, which has nothing but itself
to look at, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.compression.families import FAMILIES
from palimpsest.evaluation.forward import Forward
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
        self._length = 2
        self._attention: list[list[Tensor]] = []
        self._activations: list[list[Tensor]] = []
        for block in bare.get_submodule(family.blocks):
            attention = block.get_submodule(family.layers[0].rpartition(".")[0])
            self._attention.append(self._watch(attention, self._weights))
            self._activations.append(self._watch(block, self._states))

    def _watch(self, module: torch.nn.Module, part: Callable) -> list[Tensor]:
        """A list that grows with that part of each output of the module."""
        seen: list[Tensor] = []
        module.register_forward_hook(lambda module, inputs, output: seen.append(part(output)))
        return seen

    def _weights(self, output: tuple) -> Tensor:
        # (rows, heads, queries, keys): the text is at the end of queries and keys.
        return output[1][0, :, 1 - self._length :, -self._length :].float()

    def _states(self, output: Tensor | tuple) -> Tensor:
        return (output[0] if isinstance(output, tuple) else output)[0, 1 - self._length :].float()

    def read(self, tokens: Sequence[int]) -> Reading:
        """Read one text, after the prompt that the model chooses for it; after each, and the mean, if it takes all."""
        self._length = length = len(tokens)
        if length + self.forward.virtual_tokens > self.context:
            raise PalimpsestError(
                f"similarity: a prompt of {self.forward.virtual_tokens} tokens leaves no room for texts of {length} in "
                f"a context of {self.context}. Leave `similarity` out, or make the prompt shorter."
            )
        self.forward.prefill(tuple(tokens))
        # Passes that chose a prompt came before those that count.
        passes = 1 if self.forward.chooses else max(1, len(self.forward.prompts))
        weights, states = (
            torch.stack([torch.stack(layer[-passes:]) for layer in seen], 1)
            for seen in (self._attention, self._activations)
        )
        for seen in (*self._attention, *self._activations):
            seen.clear()
        return Reading((weights / weights.sum(-1, keepdim=True)).mean(0).cpu(), states.mean(0).cpu())
