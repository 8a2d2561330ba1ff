"""What compressed matrices cost the whole model: a dense decoder, with some matrices exchanged, on calibration rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.install import install
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError

TOKENS = 4096  # tokens that go through the model at once


class Losses:
    """The dense model in float32, and its rows (padded on the right; what is padding counts nowhere)."""

    def __init__(
        self, checkpoint: Checkpoint, rows: Integer[Tensor, "rows length"], lengths: Integer[Tensor, " rows"]
    ) -> None:
        from palimpsest.loading import load

        self.checkpoint = checkpoint
        self.model, self.tokenizer = load(checkpoint.folder)
        self.model = self.model.float().requires_grad_(False)
        size = max(1, TOKENS // rows.shape[1])
        self._batches = [(rows[i : i + size], lengths[i : i + size]) for i in range(0, len(rows), size)]
        self._dense: list[Tensor] = []

    def loss(self, instead: Mapping[str, CompressedWeight]) -> float:
        """Mean cross-entropy of the next token (nats) with the matrices `instead` in the place of the dense ones."""
        total = count = 0.0
        for (rows, _), (logits, valid) in zip(self._batches, self._logits(instead), strict=True):
            found = torch.nn.functional.cross_entropy(logits[:, :-1][valid[:, 1:]], rows[:, 1:][valid[:, 1:]])
            total += found.item() * int(valid[:, 1:].sum())
            count += int(valid[:, 1:].sum())
        if not count:
            raise PalimpsestError("No calibration row has two tokens: there is no next token to predict.")
        return total / count

    def divergence(self, instead: Mapping[str, CompressedWeight], kind: str = "kl") -> float:
        """How far the answers are from those of the dense model, a token.

        "kl": KL(dense ‖ compressed) of the next token's distribution, in nats. "squared": ‖logits - dense logits‖² over
        the size of the vocabulary. The dense model's logits are kept: tokens × vocabulary numbers.
        """
        if not self._dense:
            self._dense = [logits[valid] for logits, valid in self._logits({})]
        total = count = 0.0
        for dense, (logits, valid) in zip(self._dense, self._logits(instead), strict=True):
            total += DIVERGENCES[kind](dense, logits[valid]).sum(dtype=torch.float64).item()
            count += len(dense)
        return total / count

    def output_gradients(self, layers: Iterable[str]) -> dict[str, float]:
        """E[(∂L/∂y_i)²] of each layer's answer y, over its outputs and all tokens; L is the sum of a row's losses.

        To second order, with this for the Fisher information of y, an error δ of the answer costs a token's loss half
        of it times ‖δ‖².
        """
        sums = dict.fromkeys(layers, 0.0)

        def collect(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
            def add(gradient: Tensor) -> None:
                sums[name] += gradient.square().sum(dtype=torch.float64).item() / gradient.shape[-1]

            def follow(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
                output.register_hook(add)

            return follow

        hooks = [self.model.get_submodule(name).register_forward_hook(collect(name)) for name in sums]
        self.model.enable_input_require_grads()
        for loss in self._summed():
            loss.backward()
        for hook in hooks:
            hook.remove()
        self.model.disable_input_require_grads()
        tokens = sum(int(lengths.sum()) for _, lengths in self._batches)
        return {name: found / tokens for name, found in sums.items()}

    def _summed(self) -> Iterator[Tensor]:
        """The summed losses of each batch, whose squared gradients are added up. No gradient reaches the padding."""
        for rows, lengths in self._batches:
            valid = torch.arange(rows.shape[1]) < lengths[:, None]
            logits = self.model(input_ids=rows, use_cache=False).logits.float()
            yield torch.nn.functional.cross_entropy(
                logits[:, :-1][valid[:, 1:]], rows[:, 1:][valid[:, 1:]], reduction="sum"
            )

    @torch.inference_mode()
    def _logits(self, instead: Mapping[str, CompressedWeight]) -> Iterator[tuple[Tensor, Tensor]]:
        """The logits (rows, length, vocabulary) of each batch, and which of them are of tokens."""
        with self._exchanged(instead):
            for rows, lengths in self._batches:
                # A decoder's tokens look to the left only, so what is on the right needs no mask.
                yield (
                    self.model(input_ids=rows, use_cache=False).logits.float(),
                    torch.arange(rows.shape[1]) < lengths[:, None],
                )

    @contextmanager
    def _exchanged(self, instead: Mapping[str, CompressedWeight]) -> Iterator[None]:
        dense = {name: self.model.get_submodule(name) for name in instead}
        try:
            for name, compressed in instead.items():
                layer = copy.deepcopy(dense[name])
                install(layer, compressed, self.checkpoint.family.transposed)
                self.model.set_submodule(name, layer)
            yield
        finally:
            for name, layer in dense.items():
                self.model.set_submodule(name, layer)


def _kl(dense: Float[Tensor, "tokens v"], logits: Float[Tensor, "tokens v"]) -> Float[Tensor, " tokens"]:
    wanted, found = dense.log_softmax(-1), logits.log_softmax(-1)
    return (wanted.exp() * (wanted - found)).sum(-1)


def _squared(dense: Float[Tensor, "tokens v"], logits: Float[Tensor, "tokens v"]) -> Float[Tensor, " tokens"]:
    return (dense - logits).square().mean(-1)


DIVERGENCES = {"kl": _kl, "squared": _squared}
