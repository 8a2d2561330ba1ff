"""What compressed matrices cost an encoder, which predicts no next token: by what it does predict (fisher.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn.functional import cross_entropy

from palimpsest.compression.allocation.losses import DIVERGENCES, Losses
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.fisher import check_mask, hidden_words, masked_logits
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError

STATES, CLASSES, WORDS = "states", "classes", "words"


class EncoderLosses(Losses):
    """The dense encoder in float32, and its rows. What it answers depends on its head:

    masked words: the distribution of each of 15 % of the words, hidden from it, the same ones every time;
    classes, of texts or of tokens: their distribution;
    no head: its last hidden states.
    """

    def __init__(
        self, checkpoint: Checkpoint, rows: Integer[Tensor, "rows length"], lengths: Integer[Tensor, " rows"]
    ) -> None:
        super().__init__(checkpoint, rows, lengths)
        self.kind = STATES
        if self.model.get_output_embeddings() is not None:
            check_mask(self.model, self.tokenizer)
            self.kind = WORDS
        elif hasattr(self.model, "classifier"):
            self.kind = CLASSES
        draws, hidden = torch.Generator().manual_seed(0), torch.zeros_like(rows, dtype=torch.bool)
        for row, length, places in zip(rows, lengths.tolist(), hidden, strict=True):
            places[hidden_words(row[:length], self.tokenizer, draws)] = True
        if self.kind == WORDS and not hidden.any():
            raise PalimpsestError("No calibration row has a word that could be hidden: all are special tokens.")
        self._hidden = hidden.split(len(self._batches[0][0]))

    def loss(self, instead: Mapping[str, CompressedWeight]) -> float:
        """Mean loss with the matrices `instead` in the place of the dense ones.

        Masked words: cross-entropy (nats). Classes: cross-entropy with the dense model's distribution (nats).
        States: ½‖h - h'‖² of a token, h those of the dense model.
        """
        wanted = [batch[hidden] for (batch, _), hidden in zip(self._batches, self._hidden, strict=True)]
        total = count = 0.0
        for index, found in enumerate(self._answers(instead)):
            if self.kind == STATES:
                losses = (self._of_dense()[index] - found).square().sum(1) / 2
            else:
                target = wanted[index] if self.kind == WORDS else self._of_dense()[index].softmax(1)
                losses = cross_entropy(found, target, reduction="none")
            total += losses.sum(dtype=torch.float64).item()
            count += len(losses)
        return total / count

    def divergence(self, instead: Mapping[str, CompressedWeight], kind: str = "kl") -> float:
        """How far the answers are from those of the dense model, a word, class or token: `kind` as for decoders."""
        if self.kind == STATES and kind == "kl":
            raise PalimpsestError(
                f"{self.checkpoint.folder}: a {type(self.model).__name__} has no head, so it predicts no distribution. "
                "Write e.g. `divergence: squared`, the distance of its last states."
            )
        pairs = zip(self._of_dense(), self._answers(instead), strict=True)
        return torch.cat([DIVERGENCES[kind](dense, found) for dense, found in pairs]).double().mean().item()

    def _of_dense(self) -> list[Tensor]:
        self._dense = self._dense or list(self._answers({}))
        return self._dense

    def _summed(self) -> Iterator[Tensor]:
        for (rows, lengths), hidden in zip(self._batches, self._hidden, strict=True):
            if self.kind == STATES:
                yield self._answer(rows, lengths, hidden).square().sum() / 2
            elif self.kind == WORDS:
                yield cross_entropy(self._answer(rows, lengths, hidden), rows[hidden], reduction="sum")
            else:
                # Squared gradients add up to their expectation: each class as often as the model finds it likely.
                for number in range(self._answer(rows, lengths, hidden).shape[1]):
                    logs = self._answer(rows, lengths, hidden).log_softmax(1)[:, number]
                    yield -(logs.detach().exp().sqrt() * logs).sum()

    @torch.inference_mode()
    def _answers(self, instead: Mapping[str, CompressedWeight]) -> Iterator[Float[Tensor, "answers values"]]:
        with self._exchanged(instead):
            for (rows, lengths), hidden in zip(self._batches, self._hidden, strict=True):
                yield self._answer(rows, lengths, hidden)

    def _answer(
        self,
        rows: Integer[Tensor, "rows length"],
        lengths: Integer[Tensor, " rows"],
        hidden: Bool[Tensor, "rows length"],
    ) -> Float[Tensor, "answers values"]:
        valid = torch.arange(rows.shape[1]) < lengths[:, None]
        shown = rows.masked_fill(hidden, self.tokenizer.mask_token_id) if self.kind == WORDS else rows
        answer = self.model(input_ids=shown, attention_mask=valid.long())
        if self.kind == STATES and "last_hidden_state" not in answer:
            raise PalimpsestError(
                f"{self.checkpoint.folder}: a {type(self.model).__name__} has no loss that is known here: use its "
                "encoder alone, or an allocation that looks at one matrix at a time: owl, or error with weighting: "
                "energy."
            )
        if self.kind == STATES:
            return answer.last_hidden_state[valid].float()
        logits = masked_logits(answer).float()
        return logits if logits.ndim == 2 else logits[hidden if self.kind == WORDS else valid]
