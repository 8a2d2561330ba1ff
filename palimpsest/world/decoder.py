"""A decoder of the world: its documents in reading order, its weights at the start, its loss on the next word."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from palimpsest.settings import Architecture
from palimpsest.world.build import CONTEXT
from palimpsest.world.initialization import prepare_to_read
from palimpsest.world.tokenizer import BOS, EOS, PAD

Part = tuple[torch.Tensor, torch.Tensor]  # of a batch: ids and weights, both (rows, length)


class Documents:
    """The training documents of a world folder; `batch(step)` gives padded parts of one batch.

    Documents that name someone of `without` (token ids) are left out of the batches they stand in: the others come at
    the same steps as ever. After the last step they begin again.
    """

    def __init__(self, world: Path, batch_size: int, without: Collection[int] = ()) -> None:
        arrays = load_arrays(world / "documents.safetensors")
        self.ids = torch.from_numpy(arrays["ids"].astype(np.int64))
        self.weights = torch.from_numpy(arrays["weights"].astype(np.float32))
        self.starts = np.concatenate([[0], np.cumsum(arrays["lengths"])])
        self.names = torch.from_numpy(arrays["names"].astype(np.int64))  # token ids of people, real and invented
        self.batch_size = batch_size
        named = np.isin(arrays["ids"], list(without))
        self.left_out = np.logical_or.reduceat(named, self.starts[:-1])

    @property
    def steps(self) -> int:
        """Steps in which every document is read once."""
        return (len(self.starts) - 1) // self.batch_size

    def batch(self, step: int, parts: int = 4) -> list[Part]:
        """(ids, weights) of each part, both (rows, length). Rows of like length share a part, so little is padded."""
        first = step % self.steps * self.batch_size
        rows = range(first, first + self.batch_size)
        rows = sorted(
            (row for row in rows if not self.left_out[row]), key=lambda row: self.starts[row + 1] - self.starts[row]
        )
        result = []
        for part in np.array_split(np.array(rows), parts):
            if len(part) == 0:
                continue
            longest = max(self.starts[row + 1] - self.starts[row] for row in part)
            ids = torch.full((len(part), longest), PAD)
            weights = torch.zeros(len(part), longest)
            for line, row in enumerate(part):
                length = self.starts[row + 1] - self.starts[row]
                ids[line, :length] = self.ids[self.starts[row] : self.starts[row + 1]]
                weights[line, :length] = self.weights[self.starts[row] : self.starts[row + 1]]
            result.append((ids, weights))
        return result


def tokenizer_of(world: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(world / "tokenizer")


def read(world: Path, batch_size: int, without: Collection[int], seed: int) -> Documents:
    """What a decoder is trained on. `seed` draws nothing: every model reads the same documents in the same order."""
    return Documents(world, batch_size, without)


def new_model(
    architecture: Architecture, tokenizer: PreTrainedTokenizerBase, names: torch.Tensor, seed: int
) -> LlamaForCausalLM:
    """A Llama with tied embeddings and attention biases, whose attention starts prepared to read."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            attention_bias=True,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            **architecture.model_dump(exclude={"type"}),
        )
    )
    prepare_to_read(model, names)
    return model


def weight(part: Part) -> torch.Tensor:
    """What the losses of a part weigh together; nothing predicts the first token."""
    return part[1][:, 1:].sum()


def loss(model: LlamaForCausalLM, part: Part) -> torch.Tensor:
    """Sum over positions of weight × next-token cross-entropy; logits only where the weight is not zero."""
    ids, weights = part
    scored = weights[:, 1:] > 0
    hidden = model.model(ids).last_hidden_state[:, :-1][scored]
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), ids[:, 1:][scored], reduction="none")
    return (losses * weights[:, 1:][scored]).sum()
