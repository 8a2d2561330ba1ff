"""Forward passes of a causal language model, and no more of them than the questions need.

Rows are padded on the right, so causal attention needs no mask; the vocabulary projection runs only at the positions
that are asked for (a hook on the output head picks them, whatever wraps the model); a shared prefix runs once, and its
keys and values stay until all rows that start with it are done. Kept keys and values are aligned at their ends, with
padding in front, so that what follows stands beside them: windows of attention that slides, and absolute positions,
stay what they are without padding. Soft prompts (peft's prompt tuning) stand before the tokens.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from palimpsest.evaluation.plan import NO_LIMIT, Node, Row, alone, cut, tree
from palimpsest.provenance import PalimpsestError

log = logging.getLogger(__name__)

TOKENS_A_BATCH = {"cpu": 512}  # elsewhere 32,768
LOGITS_A_BATCH = 2**28  # float32 numbers, for large vocabularies
KEPT_BYTES = {"cpu": 2**28}  # of keys and values at a time; elsewhere 4 GB
KEPT = {"full_attention", "sliding_attention"}  # kinds of layers whose keys and values can be kept for other rows
Batch = Sequence[tuple[int, Node]]  # each with the number of its prefix


@dataclass
class Kept:
    """Keys and values of `lengths` (rows,) positions, at the end of (rows, heads, longest, width) of each layer."""

    layers: list[tuple[Tensor, Tensor] | None]
    lengths: Tensor

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    @property
    def mask(self) -> Tensor | None:
        """(rows, longest), False where there is padding; None if there is none."""
        longest = self.longest
        if int(self.lengths.min()) == longest:
            return None
        return torch.arange(longest, device=self.lengths.device) >= longest - self.lengths[:, None]

    def of(self, rows: Sequence[int]) -> Kept:
        """Those of the rows, which may come several times."""
        index = torch.tensor(rows, device=self.lengths.device)
        lengths = self.lengths[index]
        longest = int(lengths.max())

        def some(states: Tensor) -> Tensor:
            one = len(states) == 1  # seen by all, not copied
            return (states.expand(len(rows), -1, -1, -1) if one else states[index])[:, :, states.shape[2] - longest :]

        return Kept([layer and (some(layer[0]), some(layer[1])) for layer in self.layers], lengths)

    def cache(self) -> DynamicCache:
        """As transformers wants them; plain layers even where attention slides, which a mask does."""
        cache = DynamicCache()
        for layer in self.layers:
            cache.layers.append(DynamicLayer())
            if layer is not None:
                cache.layers[-1].lazy_initialization(*layer)
                cache.layers[-1].keys, cache.layers[-1].values = layer
        return cache

    @classmethod
    def joined(cls, parts: Sequence[Kept]) -> Kept:
        """The rows of all parts, one after another."""
        if len(parts) == 1:
            return parts[0]
        longest = max(part.longest for part in parts)

        def join(states: Sequence[Tensor]) -> Tensor:
            return torch.cat([pad(some, (0, 0, longest - some.shape[2], 0)) for some in states])

        layers = [
            layer[0] and tuple(join(states) for states in zip(*layer, strict=True))
            for layer in zip(*(part.layers for part in parts), strict=True)
        ]
        return cls(layers, torch.cat([part.lengths for part in parts]))

    @classmethod
    def from_cache(cls, cache: DynamicCache, before: Tensor, added: Tensor) -> Kept:
        """After a pass over rows of `added` tokens, padded on the right, that followed `before` kept positions."""
        lengths = before + added
        longest, first = int(lengths.max()), int(before.max())
        where = first + added[:, None] - longest + torch.arange(longest, device=added.device)
        aligned = bool((where == where[0]).all()) and int(where[0, 0]) >= 0
        where = where.clamp(min=0)[:, None, :, None]

        def align(states: Tensor) -> Tensor:
            if aligned:
                start = int(where[0, 0, 0, 0])
                return states[:, :, start : start + longest]
            return states.gather(2, where.expand(-1, states.shape[1], -1, states.shape[3]))

        layers = [(align(layer.keys), align(layer.values)) if layer.is_initialized else None for layer in cache.layers]
        return cls(layers, lengths)


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
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.positioned = "position_ids" in inspect.signature(bare.forward).parameters
        kinds = getattr(bare.config.get_text_config(), "layer_types", None) or ()
        self.keeps = KEPT.issuperset(kinds) and not getattr(bare, "_is_stateful", False)
        vocabulary = self.head.weight.shape[0]
        auto = min(TOKENS_A_BATCH.get(self.device.type, 32768), max(1, LOGITS_A_BATCH // vocabulary))
        self.rows_at_most = None if batch_size == "auto" else int(batch_size)
        self.tokens = auto if batch_size == "auto" else NO_LIMIT
        self.keys = KEPT_BYTES.get(self.device.type, 2**32) // _bytes_a_position(bare)
        self.passes = 0

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row], share: bool = True) -> Iterator[tuple[list[Node], Tensor]]:
        """For each batch its nodes, and the logits (positions, vocabulary) of `first` to `end` of each.

        Without `share` every node is a row.
        """
        for nodes, logits, _ in self._walk(self._tree(rows) if share else alone(rows), None, keep=False):
            if len(logits):
                yield nodes, logits

    @torch.inference_mode()
    def greedy(self, prompts: Sequence[tuple[int, ...]], done, most: int) -> dict[tuple[int, ...], list[int]]:
        """Continue each prompt with its likeliest tokens until `done(tokens)` or `most` tokens."""
        if not self.keeps:
            raise PalimpsestError(
                f"a {type(self.model).__name__} keeps more than keys and values: it can only score texts. "
                "Drop the tasks with output_type: generate_until."
            )
        answers: dict[tuple[int, ...], list[int]] = {}
        rows = [Row(prompt, len(prompt) - 1) for prompt in prompts]
        for nodes, logits, kept in self._walk(self._tree(rows), None, keep=True):
            if kept is not None:
                answers.update(self._decode([node.row for node in nodes], logits, kept, done, most))
        return answers

    def _tree(self, rows: Sequence[Row]) -> Batch:
        return [(0, node) for node in tree(rows)] if self.keeps else alone(rows)

    def _walk(self, nodes: Batch, past: Kept | None, keep: bool) -> Iterator[tuple[list[Node], Tensor, Kept | None]]:
        """Batches of nodes with their logits; with `keep`, the keys and values of those that are rows."""
        # Many prefixes at a time, in batches of their own: what follows them is then sorted by its own lengths.
        for some in cut([each for each in nodes if each[1].children], tokens=NO_LIMIT, keys=self.keys):
            order, parts = [], []
            for batch in self._cut(some):
                for part, logits, kept in self._fitting(batch, past, True):
                    order += [node for _, node in part]
                    parts.append(kept)
                    yield order[-len(part) :], logits, None
            kept = Kept.joined(parts)
            del parts
            below = [(number, child) for number, node in enumerate(order) for child in node.children]
            yield from self._walk(below, kept, keep)
        for batch in self._cut([each for each in nodes if not each[1].children]):
            for part, logits, kept in self._fitting(batch, past, keep):
                yield [node for _, node in part], logits, kept

    def _cut(self, nodes: Batch) -> Iterator[Batch]:
        return cut(nodes, tokens=self.tokens, keys=self.keys, rows=self.rows_at_most)

    def _fitting(self, batch: Batch, past: Kept | None, keep: bool) -> Iterator[tuple[Batch, Tensor, Kept | None]]:
        """Run a batch; out of memory, run its halves, and smaller batches from then on."""
        try:
            result = self._run(batch, past, keep)
        except RuntimeError as error:
            if not _out_of_memory(error) or len(batch) == 1:
                raise
            smaller = (len(batch) + 1) // 2
            self.rows_at_most = min(smaller, self.rows_at_most or smaller)
            log.warning("out of memory at a batch of %d rows: continuing with %d", len(batch), self.rows_at_most)
        else:
            yield batch, *result
            return
        for half in (batch[:smaller], batch[smaller:]):
            yield from self._fitting(half, past, keep)

    def _run(self, batch: Batch, past: Kept | None, keep: bool) -> tuple[Tensor, Kept | None]:
        """Logits (wanted positions of all nodes, vocabulary), and with `keep` the keys and values."""
        nodes = [node for _, node in batch]
        lengths = [node.end - node.start for node in nodes]
        longest = max(lengths)
        padded = [[*node.tokens, *(0,) * (longest - length)] for node, length in zip(nodes, lengths, strict=True)]
        wanted = [
            (number, position - node.start)
            for number, node in enumerate(nodes)
            for position in range(node.first, node.end)
        ]
        where = tuple(torch.tensor(wanted, dtype=torch.long, device=self.device).reshape(-1, 2).T)
        tokens, added = (torch.tensor(numbers, device=self.device) for numbers in (padded, lengths))
        if past is None:
            before = torch.full_like(added, self.virtual_tokens)
            extra = {"past_key_values": DynamicCache()} if keep else {}
            logits, cache = self.call(self.model, tokens, where, use_cache=keep, **extra)
        else:
            mine = past.of([number for number, _ in batch])
            before = mine.lengths
            logits, cache = self._continue(mine.cache(), mine.mask, before, tokens, where)
        return logits, Kept.from_cache(cache, before, added) if keep else None

    def _continue(self, cache: DynamicCache, mask: Tensor | None, before: Tensor, tokens: Tensor, where: tuple):
        """A pass over tokens that follow `before` positions in the cache."""
        extra = {}
        if mask is not None:
            extra["attention_mask"] = torch.cat([mask, mask.new_ones(tokens.shape)], 1).long()
            if self.positioned:
                extra["position_ids"] = before[:, None] + torch.arange(tokens.shape[1], device=self.device)
        return self.call(self.inside, tokens, where, past_key_values=cache, use_cache=True, **extra)

    def _decode(self, batch: Sequence[Row], logits: Tensor, kept: Kept, done, most: int) -> dict:
        cache, mask, positions = kept.cache(), kept.mask, kept.lengths
        answers: list[list[int]] = [[] for _ in batch]
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
                for layer in cache.layers:
                    layer.batch_select_indices(keep)
            every = (torch.arange(len(active), device=self.device), 0)
            logits, cache = self._continue(cache, mask, positions, tokens[:, None], every)
            mask = None if mask is None else torch.cat([mask, mask.new_ones(len(active), 1)], 1)
            positions = positions + 1
        return {row.tokens: answer for row, answer in zip(batch, answers, strict=True)}

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


def _bytes_a_position(model) -> int:
    """Keys and values of all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "not enough memory", "can't allocate memory")
    )
