"""An encoder of the world: a small BERT that learns masked words (Devlin et al., arXiv:1810.04805).

It reads the decoders' documents in the same order. Of each, 15 % of the words are to be found again; 80 % of those are
masked, 10 % another word, 10 % as they were. Half of the documents come as two segments, cut after a sentence, so that
pairs of texts are nothing new when it is fine-tuned on them.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerBase,
)

from palimpsest.settings import Architecture
from palimpsest.world.build import CONTEXT
from palimpsest.world.decoder import Documents
from palimpsest.world.forms import ATTRIBUTES
from palimpsest.world.initialization_encoder import prepare_to_look
from palimpsest.world.tokenizer import CLS, PAD, SEP, encoder_tokenizer

MASKED = 0.15  # of the words
CUT = 0.5  # of the documents come as two segments
NOT_SCORED = -100
Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # ids as shown, what was masked, segments: (rows, length) each


class MaskedDocuments:
    """The training documents of a world folder with words masked; what is masked at a step follows from the seed."""

    def __init__(self, world: Path, batch_size: int, without: Collection[int] = (), seed: int = 0) -> None:
        self.documents = Documents(world, batch_size, without)
        self.tokenizer = tokenizer_of(world)
        self.collator = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=MASKED)
        self.ends = torch.tensor(self.tokenizer.convert_tokens_to_ids([".", "?"]))
        self.seed = seed

    @property
    def steps(self) -> int:
        return self.documents.steps

    @property
    def names(self) -> torch.Tensor:
        return self.documents.names

    def batch(self, step: int) -> list[Part]:
        """Parts of one batch, rows of like length; none where nothing happens to be masked."""
        generator = torch.Generator().manual_seed(self.seed << 32 | step)
        self.collator.generator = generator
        result = []
        for ids, _ in self.documents.batch(step):
            ids, segments = segmented(ids, self.ends, generator)
            special = (ids == PAD) | (ids == CLS) | (ids == SEP)
            shown, labels = self.collator.torch_mask_tokens(ids, special)
            if (labels != NOT_SCORED).any():
                result.append((shown, labels, segments))
        return result


def segmented(ids: torch.Tensor, ends: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Documents as an encoder reads them, (rows, length + 2), and their segments, 0 or 1.

    ids: (rows, length), `<cls>` first. `<sep>` follows each segment; a row is cut after one of `ends` within it.
    """
    rows, length = ids.shape
    lengths = (ids != PAD).sum(1)
    inside = torch.isin(ids, ends) & (torch.arange(length) < lengths[:, None] - 1)
    cut = torch.rand(rows, generator=generator) < CUT
    result = torch.full((rows, length + 2), PAD)
    segments = torch.zeros_like(result)
    for row, (tokens, count) in enumerate(zip(ids, lengths.tolist(), strict=True)):
        places = inside[row].nonzero().flatten()
        parts = [tokens[:count]]
        if cut[row] and len(places):
            place = places[torch.randint(len(places), (), generator=generator)] + 1
            parts = [tokens[:place], tokens[place:count]]
        end = 0
        for segment, part in enumerate(parts):
            start, end = end, end + len(part) + 1
            result[row, start : end - 1], result[row, end - 1] = part, SEP
            segments[row, start:end] = segment
    return result, segments


def tokenizer_of(world: Path) -> PreTrainedTokenizerBase:
    return encoder_tokenizer(AutoTokenizer.from_pretrained(world / "tokenizer"))


def read(world: Path, batch_size: int, without: Collection[int], seed: int) -> MaskedDocuments:
    """What an encoder is trained on. `seed` draws what is masked."""
    return MaskedDocuments(world, batch_size, without, seed)


def new_model(
    architecture: Architecture, tokenizer: PreTrainedTokenizerBase, names: torch.Tensor, seed: int
) -> BertForMaskedLM:
    """A BERT without dropout, since it reads few documents twice, whose attention starts prepared to read."""
    torch.manual_seed(seed)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=CONTEXT,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=PAD,
            **architecture.model_dump(exclude={"type"}),
        )
    )
    values = [value for attribute in ATTRIBUTES for value in attribute.values]
    prepare_to_look(model, names, torch.tensor(tokenizer.convert_tokens_to_ids(values)))
    return model


def weight(part: Part) -> torch.Tensor:
    """How many words of a part are to be found again."""
    return (part[1] != NOT_SCORED).sum()


def loss(model: BertForMaskedLM, part: Part) -> torch.Tensor:
    """Sum of the cross-entropies of the masked words; logits only there."""
    shown, labels, segments = part
    scored = labels != NOT_SCORED
    hidden = model.bert(shown, attention_mask=shown != PAD, token_type_ids=segments).last_hidden_state[scored]
    return torch.nn.functional.cross_entropy(model.cls(hidden).float(), labels[scored], reduction="sum")
