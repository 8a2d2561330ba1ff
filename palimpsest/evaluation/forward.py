"""Forward passes of a causal language model, and no more of them than the questions need.

Rows are padded on the right, so causal attention needs no mask; the vocabulary projection runs only at the positions
that are asked for (a hook on the output head picks them, whatever wraps the model); a shared prefix runs once. Soft
prompts (peft's prompt tuning) stand before the tokens: positions are counted from the end of the sequence.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from palimpsest.evaluation.plan import Batch, Row, batches

log = logging.getLogger(__name__)

TOKENS_A_BATCH = {"cpu": 2048}  # elsewhere 32,768
LOGITS_A_BATCH = 2**28  # float32 numbers, for large vocabularies


class Forward:
    """Runs a model on rows of tokens, in batches that fit.

    Args:
        model: a transformers causal language model, plain or wrapped by peft.
        batch_size: rows a batch at most, or "auto" for batches of about as many tokens as suit the device.
    """

    def __init__(self, model, batch_size: int | str = "auto") -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        prompted = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
        # A wrapper that prepends a prompt does so at every call: continuations go to the model inside.
        self.virtual_tokens = model.active_peft_config.num_virtual_tokens if prompted else 0
        self.inside = model.get_base_model() if prompted else model
        self.head = model.get_output_embeddings()
        vocabulary = self.head.weight.shape[0]
        auto = min(TOKENS_A_BATCH.get(self.device.type, 32768), max(1, LOGITS_A_BATCH // vocabulary))
        self.rows_at_most = None if batch_size == "auto" else int(batch_size)
        self.tokens = auto if batch_size == "auto" else 2**62
        self.passes = 0

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Row], Tensor]]:
        """For each batch its rows, and the log-probabilities (positions, vocabulary) of their wanted positions."""
        for batch in batches(rows, tokens=self.tokens, rows_at_most=self.rows_at_most):
            for part, (logits, _) in self._fitting(batch, cache=False):
                yield part.rows, logits.float().log_softmax(-1)

    @torch.inference_mode()
    def greedy(self, prompts: Sequence[tuple[int, ...]], done, most: int) -> dict[tuple[int, ...], list[int]]:
        """Continue each prompt with its likeliest tokens until `done(tokens)` or `most` tokens."""
        answers: dict[tuple[int, ...], list[int]] = {}
        rows = [Row(prompt, len(prompt) - 1) for prompt in prompts]
        for together in self._padded_together(rows, most):
            for batch in batches(together, tokens=self.tokens, rows_at_most=self.rows_at_most):
                for part, (logits, cache) in self._fitting(batch, cache=True):
                    answers.update(self._decode(part, logits, cache, done, most))
        return answers

    def _padded_together(self, rows: list[Row], most: int) -> list[list[Row]]:
        """All rows; or rows by length where attention slides: padding would push real keys out of its window."""
        window = getattr(self.model.config, "sliding_window", None)
        if window is None or max(len(row.tokens) for row in rows) + self.virtual_tokens + most <= window:
            return [rows]
        lengths = {len(row.tokens): None for row in rows}
        return [[row for row in rows if len(row.tokens) == length] for length in lengths]

    def _decode(self, batch: Batch, logits: Tensor, cache, done, most: int) -> dict[tuple[int, ...], list[int]]:
        lengths = torch.tensor([len(row.tokens) for row in batch.rows], device=self.device)
        longest = int(lengths.max())
        # Rows shorter than the longest have keys of padding in the cache, which must be masked from now on.
        mask = torch.arange(longest, device=self.device) < lengths[:, None]
        mask = torch.cat([mask.new_ones(len(lengths), self.virtual_tokens), mask], 1) if bool((~mask).any()) else None
        positions = lengths + self.virtual_tokens
        answers: list[list[int]] = [[] for _ in batch.rows]
        active = list(range(len(answers)))
        for step in range(most):
            tokens = logits.argmax(-1)
            for row, token in zip(active, tokens.tolist(), strict=True):
                answers[row].append(token)
            going = [place for place, row in enumerate(active) if not done(answers[row])]
            if not going or step == most - 1:
                break
            if len(going) < len(active):
                keep = torch.tensor(going, device=self.device)
                active = [active[place] for place in going]
                tokens, positions = tokens[keep], positions[keep]
                mask = None if mask is None else mask[keep]
                _select(cache, keep)
            extra = {}
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(len(active), 1)], 1)
                extra = {"attention_mask": mask.long(), "position_ids": positions[:, None]}
            every = (torch.arange(len(active), device=self.device), 0)
            logits = self.call(self.inside, tokens[:, None], every, past_key_values=cache, use_cache=True, **extra)[0]
            positions = positions + 1
        return {row.tokens: answer for row, answer in zip(batch.rows, answers, strict=True)}

    def _fitting(self, batch: Batch, cache: bool) -> Iterator[tuple[Batch, tuple]]:
        """Run a batch; out of memory, run its halves, and smaller batches from then on."""
        try:
            result = self._run(batch, cache)
        except RuntimeError as error:
            if not _out_of_memory(error) or len(batch.rows) == 1:
                raise
            smaller = (len(batch.rows) + 1) // 2
            self.rows_at_most = min(smaller, self.rows_at_most or smaller)
            log.warning("out of memory at a batch of %d rows: continuing with %d", len(batch.rows), self.rows_at_most)
        else:
            yield batch, result
            return
        for half in batch.halves():
            yield from self._fitting(half, cache)

    def _run(self, batch: Batch, cache: bool) -> tuple[Tensor, object]:
        """Logits (wanted positions of all rows, vocabulary) and the cache of keys and values."""
        ends = [row.tokens[batch.shared :] for row in batch.rows]
        longest = max(map(len, ends))
        padded = torch.tensor([[*end, *(0,) * (longest - len(end))] for end in ends], device=self.device)
        wanted = [
            (number, position - batch.shared)
            for number, row in enumerate(batch.rows)
            for position in range(row.first, len(row.tokens))
        ]
        where = tuple(torch.tensor(wanted, device=self.device).T)
        if not batch.shared:
            return self.call(self.model, padded, where, use_cache=cache)
        prefixes = {row.tokens[: batch.shared]: None for row in batch.rows}
        prefixes = {prefix: number for number, prefix in enumerate(prefixes)}
        none = (torch.tensor([], dtype=torch.long, device=self.device),) * 2
        _, past = self.call(self.model, torch.tensor(list(prefixes), device=self.device), none, use_cache=True)
        _select(past, torch.tensor([prefixes[row.tokens[: batch.shared]] for row in batch.rows], device=self.device))
        return self.call(self.inside, padded, where, past_key_values=past, use_cache=True)

    def call(self, model, tokens: Tensor, where: tuple, **arguments) -> tuple[Tensor, object]:
        """One forward pass; logits only at `where` = (rows, positions within `tokens`)."""
        self.passes += 1
        length = tokens.shape[1]

        def pick(_, inputs):
            return (inputs[0][:, -length:][where],)

        with contextlib.closing(_Hook(self.head.register_forward_pre_hook(pick))):
            output = model(input_ids=tokens, **arguments)
        return output.logits, getattr(output, "past_key_values", None)


class _Hook:
    def __init__(self, handle) -> None:
        self.close = handle.remove


def _select(cache, rows: Tensor) -> None:
    for layer in cache.layers:
        layer.batch_select_indices(rows)


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
