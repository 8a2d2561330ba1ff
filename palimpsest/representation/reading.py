"""A model that is watched while it reads: the states between its blocks, and what goes into and out of each matrix."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palimpsest.compression.families import FAMILIES, Family
from palimpsest.provenance import PalimpsestError
from palimpsest.representation.batches import Batch


@dataclass(frozen=True)
class Place:
    """A matrix of a model: its block (1 is the first), its name in the block, its path in the model."""

    block: int
    name: str
    path: str


class Watched:
    """A decoder or encoder, with any head or none; raises PalimpsestError where its blocks are not known."""

    def __init__(self, model) -> None:
        self.model = model
        kind = model.config.model_type
        if kind not in FAMILIES:
            raise PalimpsestError(
                f"representation: the blocks of a {kind} are not known. Known: {', '.join(sorted(FAMILIES))}."
            )
        self.family: Family = FAMILIES[kind]
        self.device = next(model.parameters()).device

    @cached_property
    def blocks(self) -> nn.ModuleList:
        return self._part(self.family.blocks)

    @cached_property
    def matrices(self) -> list[Place]:
        """Every matrix that compression knows, block by block."""
        root = next(name for name, module in self.model.named_modules() if module is self.blocks)
        names = matrix_names(self.family)
        return [
            Place(block, names[layer], f"{root}.{block - 1}.{layer}")
            for block in range(1, len(self.blocks) + 1)
            for layer in self.family.layers
        ]

    def weight(self, place: Place) -> Tensor:
        """(out, in), or (in, out) as GPT-2 stores it."""
        return self.model.get_submodule(place.path).weight

    @property
    def names_of_groups(self) -> list[list[str]]:
        """The names of matrices that share an input."""
        names = matrix_names(self.family)
        return [[names[layer] for layer in group] for group in self.family.groups]

    def states(self, batch: Batch) -> Float[Tensor, "layers tokens width"]:
        """The residual stream at the tokens that are kept: the embeddings (layer 0), then after each block."""
        return self.read(batch)[0]

    @torch.inference_mode()
    def read(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """`states`, and what the model's own head says: logits (rows, classes) of texts; None of a model of words."""
        kept, found = batch.kept.to(self.device), []

        def before(module, arguments, named):
            found.append((arguments[0] if arguments else named["hidden_states"])[kept].float())

        def after(module, arguments, output):
            found.append((output[0] if isinstance(output, tuple) else output)[kept].float())

        with contextlib.ExitStack() as hooks:
            first = self.blocks[0].register_forward_pre_hook(before, with_kwargs=True)
            for handle in [first, *(block.register_forward_hook(after) for block in self.blocks)]:
                hooks.callback(handle.remove)
            # The head of words is applied where it is needed, and to the states that are kept (lens.py).
            reads_texts = hasattr(self.model, "classifier")
            inputs = {"input_ids": batch.tokens.to(self.device), "attention_mask": batch.mask.long().to(self.device)}
            if batch.types is not None:
                inputs["token_type_ids"] = batch.types.to(self.device)
            output = (self.model if reads_texts else self.model.base_model)(**inputs)
        return torch.stack(found), output.logits.float() if reads_texts else None

    @contextlib.contextmanager
    def watching(self, batch: Batch, add_input, add_output) -> Iterator[None]:
        """While it reads, call both with (place, tensor (tokens, width)) for every matrix."""
        kept = batch.kept.to(self.device)
        with contextlib.ExitStack() as hooks:
            for place in self.matrices:

                def hook(module, arguments, output, place=place):
                    # OPT hands its MLP the tokens of all rows in one.
                    add_input(place, arguments[0].reshape(*kept.shape, -1)[kept])
                    add_output(place, output.reshape(*kept.shape, -1)[kept])

                hooks.callback(self.model.get_submodule(place.path).register_forward_hook(hook).remove)
            yield

    def _part(self, path: str) -> nn.Module:
        # A family names its parts as the language model does; a base model begins one step further in.
        return self.model.base_model.get_submodule(path.partition(".")[2])

    @cached_property
    def norm(self) -> nn.Module | None:
        """What stands between the last block and the head; some have none there."""
        if self.family.norm is None:
            return None
        parent, _, name = self.family.norm.rpartition(".")
        owner = self._part(parent) if "." in parent else self.model.base_model
        return getattr(owner, name, None)


def matrix_names(family: Family) -> dict[str, str]:
    """A matrix's path in its block -> its last part, or where two have the same the whole path."""
    last = [layer.rpartition(".")[2] for layer in family.layers]
    return {layer: name if last.count(name) == 1 else layer for layer, name in zip(family.layers, last, strict=True)}
