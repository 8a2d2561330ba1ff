"""Running a model block by block: in memory are one block's weights and the activations of the calibration rows."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel

from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.statistics import Statistics
from palimpsest.provenance import PalimpsestError

TOKENS = 1024  # tokens that go through a block at once: an MLP's activations of more are larger than a block's weights


class BlockRunner:
    """The activations before the current block, and a way to take them through it.

    Rows are padded on the right. A decoder's attention looks to the left only: what a token sees does not depend on the
    padding; an encoder's padding is masked. It is kept out of the statistics. Blocks run in float32 whatever the
    checkpoint's data type.
    """

    def __init__(
        self, checkpoint: Checkpoint, rows: Integer[Tensor, "rows length"], lengths: Integer[Tensor, " rows"]
    ) -> None:
        self.checkpoint = checkpoint
        self.config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True)
        family = checkpoint.family
        with torch.device("meta"):
            kind = AutoModelForCausalLM if family.causal else AutoModel
            model = kind.from_config(self.config, dtype=torch.float32)
        path = family.blocks if family.causal else family.blocks.split(".", 1)[1]
        _make_buffers(model)
        self._blocks: nn.ModuleList = model.get_submodule(path)
        if len(self._blocks) != checkpoint.blocks():
            raise PalimpsestError(
                f"{checkpoint.folder}: config.json says {len(self._blocks)} blocks; the weights have "
                f"{checkpoint.blocks()}."
            )
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit and rows.shape[1] > limit:
            raise PalimpsestError(
                f"{checkpoint.folder}: calibration rows of {rows.shape[1]} tokens, and the model takes {limit}: "
                "use a smaller length."
            )
        if int(rows.max()) >= self.config.vocab_size or int(rows.min()) < 0:
            raise PalimpsestError(
                f"{checkpoint.folder}: the calibration has token {int(rows.max())}, and the model's vocabulary "
                f"{self.config.vocab_size} tokens: the rows were made with another tokenizer."
            )
        size = max(1, TOKENS // rows.shape[1])
        self._slices = [slice(start, start + size) for start in range(0, len(rows), size)]
        self._valid = torch.arange(rows.shape[1]) < lengths[:, None]
        self._arguments: list[list[dict[str, Any]]] = []  # by batch, then by block
        base = model.get_submodule(path.split(".")[0]) if family.causal else model
        base.pooler = None  # an encoder's; it comes after the blocks
        self.hidden = self._embed(base, rows)

    @torch.inference_mode()
    def _embed(self, base: nn.Module, rows: Tensor) -> Float[Tensor, "rows length hidden"]:
        """Run the model with each block replaced by one that does nothing but note how it is called."""
        path = self.checkpoint.family.blocks.split(".", 1)[1]
        real, stand_ins = self._blocks, nn.ModuleList(_Recorder(block) for block in self._blocks)
        base.set_submodule(path, stand_ins)
        self._load(base, self.checkpoint.prefix.removesuffix(f"{path}."), keep_type=True)
        base.eval()
        hidden: Tensor | None = None
        common: list[Tensor] = []  # of the first batch; most arguments are the same for all blocks and batches
        for batch in self._slices:
            if self.checkpoint.family.causal:
                base(input_ids=rows[batch], use_cache=False)
            else:
                base(input_ids=rows[batch], attention_mask=self._valid[batch].long())
            found = stand_ins[0].hidden
            hidden = found.new_empty((len(rows), *found.shape[1:]), dtype=torch.float32) if hidden is None else hidden
            hidden[batch] = found
            known = list(common) if self._arguments else common
            self._arguments.append([_shared(recorder.arguments, known) for recorder in stand_ins])
        base.set_submodule(path, real)
        base.to("meta")
        return hidden

    def load(self, number: int) -> nn.Module:
        """Block `number` with its weights, in float32."""
        block = copy.deepcopy(self._blocks[number])  # of meta tensors: a fresh one each time
        self._load(block, f"{self.checkpoint.prefix}{number}.")
        return block.eval().requires_grad_(False)

    def _load(self, module: nn.Module, prefix: str, keep_type: bool = False) -> None:
        wanted = module.state_dict()
        tensors = {name: self.checkpoint.tensor(prefix + name) for name in wanted}
        for name, tensor in tensors.items():
            if tensor.shape != wanted[name].shape:
                raise PalimpsestError(
                    f"{self.checkpoint.folder}: {prefix}{name} is {tuple(tensor.shape)}; by config.json it is "
                    f"{tuple(wanted[name].shape)}."
                )
            tensors[name] = tensor if keep_type else tensor.float()
        module.load_state_dict(tensors, assign=True)

    @property
    def batches(self) -> range:
        """The numbers of the batches in which the rows go through a block."""
        return range(len(self._slices))

    def twin(self) -> BlockRunner:
        """A runner with the same activations, which goes on by itself: through other weights, say."""
        other = copy.copy(self)
        other.hidden = self.hidden.clone()
        return other

    @torch.inference_mode()
    def run(
        self,
        number: int,
        block: nn.Module,
        statistics: dict[str, Statistics] | None = None,
        advance: bool = True,
        only: int | None = None,
    ) -> None:
        """Take the activations through block `number`.

        statistics: those to which the inputs of the block's layer of that name are added. With `advance` the outputs
        become the activations before the next block. only: the one batch that is taken; None takes all.
        """
        valid = self._valid
        hooks = [
            block.get_submodule(name).register_forward_pre_hook(lambda _, inputs, into=into: into.add(inputs[0], valid))
            for name, into in (statistics or {}).items()
        ]
        for index in self.batches if only is None else [only]:
            batch = self._slices[index]
            valid = self._valid[batch]
            result = block(self.hidden[batch], **self._arguments[index][number])
            if advance:
                self.hidden[batch] = result[0] if isinstance(result, tuple) else result
        for hook in hooks:
            hook.remove()


class _Recorder(nn.Module):
    """Stands in for a block: notes how it is called, hands the activations on."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_block", block)  # not as a submodule: its weights are not wanted

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._block, name)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        names = list(inspect.signature(self._block.forward).parameters)[1:]
        arguments = dict(zip(names, args, strict=False)) | kwargs
        self.hidden, self.arguments = hidden, {name: _precise(value) for name, value in arguments.items()}
        return hidden


def _precise(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_precise(part) for part in value)
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _shared(value: Any, known: list[Tensor]) -> Any:
    """`value` with each tensor replaced by the one among `known` that is equal to it; others become known."""
    if isinstance(value, dict):
        return {name: _shared(part, known) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_shared(part, known) for part in value)
    if not isinstance(value, Tensor):
        return value
    found = next((other for other in known if other.dtype == value.dtype and torch.equal(other, value)), None)
    if found is None:
        known.append(found := value)
    return found


def _make_buffers(model: PreTrainedModel) -> None:
    """Give values to the buffers that are computed and not stored (rotary frequencies, scales), on the CPU."""
    for module in model.modules():
        missing = {name: buffer for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta}
        for name, buffer in missing.items():
            module._buffers[name] = torch.zeros_like(buffer, device="cpu")
        if missing:
            model._init_weights(module)  # what transformers itself does after loading; the weights are still meta
