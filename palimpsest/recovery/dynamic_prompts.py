"""A model with several soft prompts, of which it chooses one for each input.

Dynamic prompting at inference time (IDP; Hoang et al., arXiv:2310.00867): nothing is trained but the prompts, each by
itself; of an input it is looked up which prompt its tokens attend to most, and that one stays before it. The score of
prompt i, of n_i tokens, is

    s_i = 1 / (H · T · n_i) · Σ_heads Σ_{t of the input} Σ_{j of prompt i} A_tj,

A being the softmax attention of the input's queries over the keys of all prompts. What a prompt's keys and values are
does not depend on the input: they are computed once, and the choice costs the queries of one layer and their product
with the prompts' keys. What the paper leaves open is an option:

    layer               the scoring layer, 1 for the first; in those below it the input sees all prompts. "mean" over
                        all layers costs a pass through the whole model with all prompts before the input
    heads               "all", or a list of those that are averaged
    softmax             over the keys of the "prompts", or of "prompts and input": the input's own earlier tokens too
    divide_by_length    whether 1/n_i is there; without it a longer prompt has more keys to be attended to
    positions           where the input starts: "shared", after the longest prompt whichever is chosen, or at its "own"
                        end of each (scored from there too, which takes a pass for each length)
    block_mask          whether prompts, when they are scored, do not see each other; once chosen a prompt is alone
    choose              "maximum attention", "minimum attention", "random" (by `seed` and the input's tokens), "always"
                        (the one of number `prompt`), or the "mean of all", normalized, of their log-probabilities
    shuffle             whether each prompt's tokens are put into another order, by `seed`
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palimpsest.keys_values import Kept
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.attention_scores import attention_to_prompts
from palimpsest.recovery.soft_prompts import keys_and_values

BY_ATTENTION = ("maximum attention", "minimum attention")
CHOOSE = (*BY_ATTENTION, "random", "always", "mean of all")


@dataclass(frozen=True)
class Choice:
    """The number of a prompt, and how far its score is from that of the next best."""

    prompt: int
    margin: float | None = None


class DynamicPrompts(torch.nn.Module):
    """A causal language model that chooses among soft prompts; `options` are those of the recovery method `idp`.

    Calling it is a pass over whole rows, each after the prompt that it chooses by all its tokens; its logits have the
    length of the input. The evaluation's engine chooses by the context alone, and runs the model inside.
    """

    def __init__(
        self, model, prompts: Mapping[str, Float[Tensor, "positions width"]], options: SimpleNamespace
    ) -> None:
        super().__init__()
        self.model, self.config, self.options = model, model.config, options
        self.names = list(prompts)
        self.generation_config = getattr(model, "generation_config", None)
        for number, embedded in enumerate(prompts.values()):
            if options.shuffle:
                generator = torch.Generator().manual_seed(options.seed + number)
                embedded = embedded[torch.randperm(len(embedded), generator=generator)]
            self.register_buffer(f"prompt_{number}", embedded.to(model.device, model.dtype), persistent=False)
        self.lengths = [len(embedded) for embedded in prompts.values()]
        longest = max(self.lengths)
        self.starts = [longest if options.positions == "shared" else length for length in self.lengths]
        self._all: dict[int, Kept] = {}

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def embedded(self) -> list[Float[Tensor, "positions width"]]:
        return [getattr(self, f"prompt_{number}") for number in range(len(self.names))]

    @functools.cached_property
    def prompts(self) -> list[Kept]:
        """Keys and values of each prompt, computed without the others, and where the input starts."""
        return [
            keys_and_values(self.model, embedded).followed_at(start)
            for embedded, start in zip(self.embedded, self.starts, strict=True)
        ]

    @property
    def chooses(self) -> bool:
        """False where the mean of what is predicted after each prompt is predicted."""
        return self.options.choose != "mean of all"

    @property
    def passes(self) -> int:
        """Passes, to the scoring layer, that a choice takes."""
        return len(set(self.starts)) if self.options.choose in BY_ATTENTION else 0

    def choose(self, tokens: Int[Tensor, "rows length"], lengths: Int[Tensor, " rows"]) -> list[Choice]:
        """The prompt of each row; rows have `lengths` tokens and are padded on the right."""
        if self.options.choose == "always":
            return [Choice(self.options.prompt - 1)] * len(tokens)
        if self.options.choose == "random":
            rows = [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
            return [Choice(_coin([self.options.seed, row], len(self.names))) for row in rows]
        scores = self.scores(tokens, lengths)
        scores = -scores if self.options.choose == "minimum attention" else scores
        ordered = scores.sort(descending=True).values
        margins = (ordered[:, 0] - ordered[:, 1]).tolist()
        return [Choice(*each) for each in zip(scores.argmax(1).tolist(), margins, strict=True)]

    @torch.no_grad()
    def scores(
        self, tokens: Int[Tensor, "rows length"], lengths: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows prompts"]:
        """s_i of each row. Where prompts are followed at positions of their own, each is scored from its own."""
        options = self.options
        counts = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        scores = torch.empty(len(tokens), len(self.names), device=tokens.device)
        for start in sorted(set(self.starts)):
            shares = attention_to_prompts(
                self.model,
                tokens,
                counts,
                self._side_by_side(start),
                self.lengths,
                layer=None if options.layer == "mean" else options.layer,
                heads=None if options.heads == "all" else options.heads,
                with_input=options.softmax == "prompts and input",
            )
            these = [number for number, own in enumerate(self.starts) if own == start]
            scores[:, these] = shares[:, these]
        return scores / torch.tensor(self.lengths, device=scores.device) if options.divide_by_length else scores

    def _side_by_side(self, start: int) -> Kept:
        """All prompts in one row, as the input sees them when it is scored."""
        if start not in self._all:
            if self.options.block_mask:
                self._all[start] = Kept.side_by_side(self.prompts, start)
            else:
                before = None
                for embedded in self.embedded:
                    before = keys_and_values(self.model, embedded, before)
                self._all[start] = before.followed_at(start)
        return self._all[start]

    def forward(self, input_ids, attention_mask=None, labels=None, past_key_values=None, use_cache=None, **more):
        """As a transformers model; rows are padded on the right. `labels` give the loss of the input's own tokens."""
        if past_key_values is not None and past_key_values.get_seq_length():
            raise PalimpsestError(
                "a model with dynamic prompts chooses when it sees the whole input: it does not continue from "
                "past_key_values. Use palimpsest.lm(model, tokenizer), which keeps the choice."
            )
        lengths = torch.full((len(input_ids),), input_ids.shape[1], device=input_ids.device)
        if attention_mask is not None:
            lengths = attention_mask.sum(1)
            if not bool((attention_mask[:, :1] == 1).all()):
                raise PalimpsestError("a model with dynamic prompts wants rows padded on the right.")
        strands = self.prompts
        if self.chooses:
            choices = self.choose(input_ids, lengths)
            strands = [Kept.joined(self.prompts).of([choice.prompt for choice in choices])]
        outputs = [self._after(strand, input_ids, attention_mask, **more) for strand in strands]
        output = outputs[0]
        if len(outputs) > 1:
            output.logits = torch.stack([each.logits.float().log_softmax(-1) for each in outputs]).mean(0)
            if output.hidden_states is not None:
                layers = zip(*(each.hidden_states for each in outputs), strict=True)
                output.hidden_states = tuple(torch.stack(layer).mean(0) for layer in layers)
        if labels is not None:
            vocabulary = output.logits.shape[-1]
            output.loss = self.model.loss_function(logits=output.logits, labels=labels, vocab_size=vocabulary)
        return output

    def _after(self, prompt: Kept, input_ids: Tensor, attention_mask: Tensor | None, **more):
        prompt = prompt.of([0] * len(input_ids)) if len(prompt.lengths) == 1 else prompt
        mask = prompt.mask
        if attention_mask is not None or mask is not None:
            own = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            before = input_ids.new_ones(len(input_ids), prompt.longest) if mask is None else mask
            more["attention_mask"] = torch.cat([before.to(own.dtype), own], 1)
        places = prompt.next[:, None] + torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.model(
            input_ids=input_ids, past_key_values=prompt.cache(), position_ids=places, use_cache=True, **more
        )

    def get_base_model(self):
        return self.model

    def get_output_embeddings(self):
        return self.model.get_output_embeddings()

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def _apply(self, function, recurse=True):
        self.__dict__.pop("prompts", None)  # what was computed on another device or in another format
        self._all.clear()
        return super()._apply(function, recurse)


def _coin(what: Sequence[object], sides: int) -> int:
    """The same for the same input, whatever else is asked."""
    digest = hashlib.sha256(json.dumps(what).encode()).digest()
    return int.from_bytes(digest[:8], "big") % sides
