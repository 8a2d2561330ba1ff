"""Forward passes of a causal language model, and no more of them than the questions need.

Rows are padded on the right, so causal attention needs no mask; the vocabulary projection runs only at the positions
that are asked for (a hook on the output head picks them, whatever wraps the model); a shared prefix runs once, and its
keys and values stay until all rows that start with it are done. So do those of soft prompts, which stand before the
tokens of every row, and which a model may have several of: it then chooses one for each row, or predicts the mean of
what it predicts after each.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from palimpsest.evaluation.plan import ALL, NO_LIMIT, Node, Row, alone, cut, tree
from palimpsest.keys_values import Kept
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.dynamic_prompts import Choice, DynamicPrompts
from palimpsest.recovery.soft_prompts import kept_prompt

log = logging.getLogger(__name__)

TOKENS_A_BATCH = {"cpu": 512}  # elsewhere 32,768
LOGITS_A_BATCH = 2**28  # float32 numbers, for large vocabularies
KEPT_BYTES = {"cpu": 2**28}  # of keys and values at a time; elsewhere 4 GB
KEPT = {"full_attention", "sliding_attention"}  # kinds of layers whose keys and values can be kept for other rows
Batch = Sequence[tuple[int, Node]]  # each with the number of its prefix
Strands = tuple[Kept, ...]  # what stands before a batch: as many as predictions are averaged; none before plain tokens


class Forward:
    """Runs a model on rows of tokens, in batches that fit.

    Args:
        model: a transformers causal language model, plain or wrapped by peft.
        batch_size: rows a batch at most, or "auto" for batches of about as many tokens as suit the device.
    """

    def __init__(self, model, batch_size: int | str = "auto") -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.head = model.get_output_embeddings()
        self.positioned = "position_ids" in inspect.signature(bare.forward).parameters
        kinds = getattr(bare.config.get_text_config(), "layer_types", None) or ()
        self.keeps = KEPT.issuperset(kinds) and not getattr(bare, "_is_stateful", False)
        self.chooser = model if isinstance(model, DynamicPrompts) else None
        self.prompts = self._soft_prompts()
        # A wrapper that prepends a prompt does so at every call: what follows kept ones goes to the model inside.
        self.inside = bare if self.prompts else model
        self.virtual_tokens = max((int(prompt.next) for prompt in self.prompts), default=0) or _prepended(model)
        self.chosen: dict[tuple[int, ...], Choice] = {}
        vocabulary = self.head.weight.shape[0]
        auto = min(TOKENS_A_BATCH.get(self.device.type, 32768), max(1, LOGITS_A_BATCH // vocabulary))
        self.rows_at_most = None if batch_size == "auto" else int(batch_size)
        self.tokens = auto if batch_size == "auto" else NO_LIMIT
        strands = 1 if self.chooses else max(1, len(self.prompts))
        self.keys = KEPT_BYTES.get(self.device.type, 2**32) // _bytes_a_position(bare) // strands
        self.passes = 0

    def _soft_prompts(self) -> list[Kept]:
        if self.chooser is not None:
            return self.chooser.prompts
        prompt = kept_prompt(self.model) if self.keeps else None
        return [] if prompt is None else [prompt]

    @property
    def chooses(self) -> bool:
        """Whether each row has to be given the prompt that the model chooses for it."""
        return self.chooser is not None and self.chooser.chooses

    @torch.inference_mode()
    def choices(self, texts: Sequence[tuple[int, ...]]) -> list[Choice]:
        """The soft prompt that the model chooses when it sees each of these rows of tokens; ALL if there is no choice.

        What is `chosen` once is not computed again.
        """
        if not self.chooses:
            return [Choice(ALL)] * len(texts)
        new = [Row(text, 0) for text in texts if text not in self.chosen]
        for batch in self._cut(alone(new)):
            for part, choices in self._fitting(batch, self._choose):
                self.chosen.update(zip((node.row.tokens for _, node in part), choices, strict=True))
        return [self.chosen[text] for text in texts]

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row], share: bool = True) -> Iterator[tuple[list[Node], Tensor]]:
        """For each batch its nodes, and the logits (positions, vocabulary) of `first` to `end` of each.

        Without `share` every node is a row.
        """
        for nodes, strands in self._trees(rows, share):
            for some, logits, _ in self._walk(nodes, strands, keep=False):
                if len(logits):
                    yield some, logits

    @torch.inference_mode()
    def greedy(self, prompts: Sequence[tuple[int, ...]], done, most: int) -> dict[tuple[int, ...], list[int]]:
        """Continue each prompt with its likeliest tokens until `done(tokens)` or `most` tokens."""
        if not self.keeps:
            raise PalimpsestError(
                f"a {type(self.model).__name__} keeps more than keys and values: it can only score texts. "
                "Drop the tasks with output_type: generate_until."
            )
        answers: dict[tuple[int, ...], list[int]] = {}
        rows = [
            Row(prompt, len(prompt) - 1, choice.prompt)
            for prompt, choice in zip(prompts, self.choices(prompts), strict=True)
        ]
        for nodes, before in self._trees(rows):
            for some, logits, kept in self._walk(nodes, before, keep=True):
                if kept is not None:
                    found = self.decode(logits, kept, done, most)
                    answers.update(zip((node.row.tokens for node in some), found, strict=True))
        return answers

    @torch.inference_mode()
    def prefill(self, tokens: tuple[int, ...]) -> tuple[Tensor, Strands]:
        """One pass over one row, with the choice of its soft prompt: logits (1, vocabulary) of its last token, and what
        `decode` continues from."""
        (choice,) = self.choices([tokens])
        row = Row(tokens, len(tokens) - 1, choice.prompt)
        return self._run([(0, Node(row, 0, len(tokens), first=row.first))], self._before(row.prompt), keep=True)

    def _trees(self, rows: Sequence[Row], share: bool = True) -> Iterator[tuple[Batch, Strands]]:
        """The rows of each soft prompt, with its keys and values."""
        groups: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            groups[row.prompt].append(row)
        for prompt, some in sorted(groups.items()):
            nodes = [(0, node) for node in tree(some)] if share and self.keeps else alone(some)
            yield nodes, self._before(prompt)

    def _before(self, prompt: int) -> Strands:
        return tuple(self.prompts) if prompt == ALL else (self.prompts[prompt],)

    def _walk(self, nodes: Batch, before: Strands, keep: bool) -> Iterator[tuple[list[Node], Tensor, Strands | None]]:
        """Batches of nodes with their logits; with `keep`, the keys and values of those that are rows."""
        # Many prefixes at a time, in batches of their own: what follows them is then sorted by its own lengths.
        inner = [each for each in nodes if each[1].children]
        for some in cut(inner, tokens=NO_LIMIT, keys=self.keys, before=self.virtual_tokens):
            order, parts = [], []
            for batch in self._cut(some):
                for part, (logits, kept) in self._fitting(batch, self._run, before, True):
                    order += [node for _, node in part]
                    parts.append(kept)
                    yield order[-len(part) :], logits, None
            kept = tuple(Kept.joined(strand) for strand in zip(*parts, strict=True))
            del parts
            below = [(number, child) for number, node in enumerate(order) for child in node.children]
            yield from self._walk(below, kept, keep)
        for batch in self._cut([each for each in nodes if not each[1].children]):
            for part, (logits, kept) in self._fitting(batch, self._run, before, keep):
                yield [node for _, node in part], logits, kept

    def _cut(self, nodes: Batch) -> Iterator[Batch]:
        return cut(nodes, tokens=self.tokens, keys=self.keys, before=self.virtual_tokens, rows=self.rows_at_most)

    def _fitting(self, batch: Batch, run: Callable, *arguments) -> Iterator[tuple[Batch, object]]:
        """Run a batch; out of memory, run its halves, and smaller batches from then on."""
        try:
            result = run(batch, *arguments)
        except RuntimeError as error:
            if not _out_of_memory(error) or len(batch) == 1:
                raise
            smaller = (len(batch) + 1) // 2
            self.rows_at_most = min(smaller, self.rows_at_most or smaller)
            log.warning("out of memory at a batch of %d rows: continuing with %d", len(batch), self.rows_at_most)
        else:
            yield batch, result
            return
        for half in (batch[:smaller], batch[smaller:]):
            yield from self._fitting(half, run, *arguments)

    def _choose(self, batch: Batch) -> list[Choice]:
        self.passes += self.chooser.passes
        return self.chooser.choose(*self._padded([node for _, node in batch]))

    def _padded(self, nodes: Sequence[Node]) -> tuple[Tensor, Tensor]:
        """Tokens (rows, longest), and how many each row has."""
        lengths = [node.end - node.start for node in nodes]
        rows = [[*node.tokens, *(0,) * (max(lengths) - length)] for node, length in zip(nodes, lengths, strict=True)]
        return torch.tensor(rows, device=self.device), torch.tensor(lengths, device=self.device)

    def _run(self, batch: Batch, before: Strands, keep: bool) -> tuple[Tensor, Strands | None]:
        """Logits (wanted positions of all nodes, vocabulary), and with `keep` the keys and values."""
        nodes = [node for _, node in batch]
        tokens, added = self._padded(nodes)
        wanted = [
            (number, position - node.start)
            for number, node in enumerate(nodes)
            for position in range(node.first, node.end)
        ]
        where = tuple(torch.tensor(wanted, dtype=torch.long, device=self.device).reshape(-1, 2).T)
        if not before:
            extra = {"past_key_values": DynamicCache()} if keep else {}
            logits, cache = self.call(self.model, tokens, where, use_cache=keep, **extra)
            return logits, (Kept.from_cache(cache, None, added),) if keep else None
        predicted, kept = [], []
        for strand in before:
            mine = strand.of([number for number, _ in batch])
            logits, cache = self._continue(mine.cache(), mine.mask, mine.next, tokens, where)
            predicted.append(logits)
            kept.append(Kept.from_cache(cache, mine, added) if keep else None)
        return _mean(predicted), tuple(kept) if keep else None

    def _continue(self, cache: DynamicCache, mask: Tensor | None, following: Tensor, tokens: Tensor, where: tuple):
        """A pass over tokens after what is in the cache, from the positions `following` (rows,) on."""
        extra = {}
        if mask is not None:
            extra["attention_mask"] = torch.cat([mask, mask.new_ones(tokens.shape)], 1).long()
        if self.positioned and (mask is not None or self.prompts):
            extra["position_ids"] = following[:, None] + torch.arange(tokens.shape[1], device=self.device)
        return self.call(self.inside, tokens, where, past_key_values=cache, use_cache=True, **extra)

    def decode(self, logits: Tensor, kept: Strands, done, most: int) -> list[list[int]]:
        """The likeliest continuation of each row whose last logits and kept keys and values these are."""
        caches, masks = [strand.cache() for strand in kept], [strand.mask for strand in kept]
        following = [strand.next for strand in kept]
        answers: list[list[int]] = [[] for _ in logits]
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
                tokens, following = tokens[keep], [places[keep] for places in following]
                masks = [mask if mask is None else mask[keep] for mask in masks]
                for layer in (layer for cache in caches for layer in cache.layers):
                    layer.batch_select_indices(keep)
            every = (torch.arange(len(active), device=self.device), 0)
            strands = zip(caches, masks, following, strict=True)
            passes = [self._continue(*strand, tokens[:, None], every) for strand in strands]
            logits, caches = _mean([logits for logits, _ in passes]), [cache for _, cache in passes]
            masks = [mask if mask is None else torch.cat([mask, mask.new_ones(len(active), 1)], 1) for mask in masks]
            following = [places + 1 for places in following]
        return answers

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


def _mean(logits: list[Tensor]) -> Tensor:
    """Of several predictions the normalized geometric mean: that of their log-probabilities, as logits."""
    if len(logits) == 1:
        return logits[0]
    return torch.stack([each.float().log_softmax(-1) for each in logits]).mean(0)


def _prepended(model) -> int:
    """Tokens that a wrapper puts before each row itself."""
    configuration = getattr(model, "active_peft_config", None)
    return configuration.num_virtual_tokens if getattr(configuration, "is_prompt_learning", False) else 0


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
