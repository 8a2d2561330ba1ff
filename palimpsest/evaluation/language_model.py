"""The model that lm-eval asks: the same numbers as its `HFLM`, from fewer and shorter forward passes.

Tokens are handled as HFLM handles them: special tokens as the tokenizer adds them, spaces at the end of a context
moved to the continuation, BOS (else EOS) before an empty context, rolling windows for long texts, truncation from the
left, which is counted in `truncated`. No pad token is needed: rows are padded where nothing looks. A tokenizer without
EOS ends answers at stop strings, and at what the model's generation_config calls EOS.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text, resolve_max_length
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from palimpsest.evaluation.cache import AnswerCache
from palimpsest.evaluation.divergence import Reference, divergences
from palimpsest.evaluation.forward import Forward
from palimpsest.evaluation.plan import Row
from palimpsest.evaluation.tokens import Encoder, Pair, Tokens
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.dynamic_prompts import Choice

DIGITS = 6  # of a log-likelihood: what float32 can tell
MARGIN_DIGITS = 8  # of a mean attention, which is about one over the tokens of all prompts
Score = tuple[float, bool]  # log-likelihood of a continuation, whether greedy decoding would say it


class LanguageModel(TemplateLM):
    """A transformers causal language model (peft adapters included) as lm-eval's `LM`.

    Args:
        model: the model; it stays where it is and as it is.
        tokenizer: its tokenizer.
        batch_size: rows a batch at most, or "auto": batches of about as many tokens as suit the device.
        cache: answers of this artifact that are known already, and where new ones go.
        bos_once: put one BOS before a text whose perplexity is asked for. HFLM, and this class by default, put a second
            one there if the tokenizer adds one itself, and score the first as if it were text.
        dense: the dense model, from which the divergence of this one is wanted on the texts that are read.

    What is found of a request besides its answer is written to it: `scored_tokens`, and `measures`, which has
    `truncated` (1) if its beginning was cut off, `kl_to_dense` (nats a token) if `dense` is given, and of a model that
    chooses among soft prompts the `choice` (a prompt's name) and its `margin`. The choice is made on the context, which
    the options of a question share and decoding does not change; of a text, on the tokens of each window by itself, and
    what is written down is that of the first.
    """

    def __init__(
        self,
        model,
        tokenizer,
        batch_size: int | str = "auto",
        cache: AnswerCache | None = None,
        bos_once: bool = False,
        dense: Reference | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.encoder = Encoder(tokenizer)
        self.forward = Forward(model, batch_size)
        self.answers = cache
        self.bos_once = bos_once
        self.dense = dense
        self.truncated = 0  # requests that lost their beginning because they exceed the context
        self._device = self.forward.device

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        return self.encoder.prefix

    @functools.cached_property
    def max_length(self) -> int:
        """Tokens of text that fit: the model's context less a soft prompt."""
        return resolve_max_length(self.model.config, self.tokenizer) - self.forward.virtual_tokens

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_) -> list[int]:
        return list(self.encoder.encode([string], add_special_tokens is not False)[0])

    def tok_decode(self, tokens: Sequence[int], skip_special_tokens: bool = True) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=skip_special_tokens)

    def loglikelihood(self, requests, disable_tqdm: bool = False) -> list[Score]:
        """Score of the continuation of each (context, continuation)."""
        pairs = self.encoder.pairs([request.args for request in requests])
        for request, (context, continuation) in zip(requests, pairs, strict=True):
            if not 0 < len(continuation) <= self.max_length:
                raise PalimpsestError(
                    f"task {request.task_name}, question {request.doc_id}: the continuation {request.args[1]!r} has "
                    f"{len(continuation)} tokens; it must have between 1 and {self.max_length}."
                )
            request.scored_tokens = len(continuation)
            self._measure(request, is_truncated=len(context) + len(continuation) > self.max_length + 1)
        self._choose(requests, [context[-self.max_length :] for context, _ in pairs])
        # The options of a question are asked, cached and answered together.
        questions: dict[Hashable, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            alone = request.doc_id is None
            questions[number if alone else (request.task_name, request.doc_id, pairs[number][0])].append(number)
        units = [
            (pairs[numbers[0]][0], tuple(pairs[number][1] for number in numbers)) for numbers in questions.values()
        ]
        tasks = [requests[numbers[0]].task_name for numbers in questions.values()]
        scores: list[Score] = [(0.0, False)] * len(pairs)
        for numbers, answers in zip(
            questions.values(), self._answer("loglikelihood", tasks, units, self._score_options), strict=True
        ):
            for number, (score, greedy) in zip(numbers, answers, strict=True):
                scores[number] = (score, greedy)
        return scores

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of each text, in windows that do not overlap; a row's `window` asks for the first alone.

        A row that brings its `tokens` is one window already, whose first token is not scored.
        """
        units = []
        texts = self.encoder.encode([request.args[0] for request in requests], not self.bos_once)
        for request, tokens in zip(requests, texts, strict=True):
            if known := (request.doc or {}).get("tokens"):
                request.scored_tokens = len(known) - 1
                units.append((((known[0],), tuple(known[1:])),))
                continue
            if window := (request.doc or {}).get("window"):
                tokens = tokens[: window - 1]
            request.scored_tokens = len(tokens)
            windows = get_rolling_token_windows(list(tokens), self.prefix_token_id, self.max_length, 1)
            units.append(tuple((tuple(a), tuple(b)) for a, b in map(make_disjoint_window, windows)))
        tasks = [request.task_name for request in requests]
        for request in requests:
            request.measures = {}
        self._choose(requests, [self._inputs(*windows[0]) for windows in units])
        if self.dense is not None:
            kind = f"KL to {self.dense.digest}"
            found = self._answer(kind, tasks, units, self._diverge) if self.dense.load else [0.0] * len(units)
            for request, divergence in zip(requests, found, strict=True):
                request.measures["kl_to_dense"] = divergence
        return self._answer("loglikelihood_rolling", tasks, units, self._score_windows)

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        """The greedy continuation of each context, up to a stop string, EOS or `max_gen_toks` tokens."""
        units = []
        contexts = self.encoder.encode([request.args[0] for request in requests], True)
        for request, tokens in zip(requests, contexts, strict=True):
            settings = normalize_gen_kwargs(request.args[1], 256)
            if settings.get("do_sample"):
                raise PalimpsestError(
                    f"task {request.task_name}: generation_kwargs asks for sampling; decoding is greedy here. "
                    "Write `do_sample: false` and no temperature."
                )
            most, until = settings["max_gen_toks"], settings.get("until") or ()
            room = self.max_length - most
            if room <= 0:
                raise PalimpsestError(
                    f"task {request.task_name}: generation_kwargs.max_gen_toks is {most}, but the context holds only "
                    f"{self.max_length} tokens. Write a smaller number."
                )
            self._measure(request, is_truncated=len(tokens) > room)
            units.append((tokens[-room:], most, (until,) if isinstance(until, str) else tuple(until)))
        self._choose(requests, [tokens for tokens, *_ in units])
        return self._answer("generate_until", [request.task_name for request in requests], units, self._generate)

    def _loglikelihood_tokens(self, requests, **_) -> list[Score]:
        return self._score([(tuple(context), tuple(continuation)) for _, context, continuation in requests])

    def _measure(self, request, is_truncated: bool) -> None:
        request.measures = {"truncated": 1} if is_truncated else {}
        self.truncated += is_truncated

    def _choose(self, requests, texts: Sequence[Tokens]) -> None:
        """Write down which soft prompt is chosen for each request, where there is a choice."""
        if not self.forward.chooses:
            return
        tasks = [request.task_name for request in requests]
        found = self._answer("choice", tasks, texts, self._choices)
        for request, text, (prompt, margin) in zip(requests, texts, found, strict=True):
            self.forward.chosen[text] = Choice(prompt, margin)
            request.measures["choice"] = self.forward.chooser.names[prompt]
            request.measures |= {} if margin is None else {"margin": margin}

    def _choices(self, texts: list[Tokens]) -> list[tuple[int, float | None]]:
        choices = self.forward.choices(texts)
        margins = [
            choice.margin if choice.margin is None else round(choice.margin, MARGIN_DIGITS) for choice in choices
        ]
        return [(choice.prompt, margin) for choice, margin in zip(choices, margins, strict=True)]

    def _inputs(self, context: Tokens, continuation: Tokens) -> Tokens:
        """What a pass over a pair reads: all but the last token, as many as fit."""
        return (context + continuation)[-(self.max_length + 1) : -1]

    # -- answers, from the cache or computed

    def _answer(self, kind: str, tasks: Sequence[str], units: Sequence, compute: Callable[[list], list]) -> list:
        """One answer a unit. Batches never mix tasks, so another task in the study changes no number of this one."""
        answers: dict = {}
        for task in dict.fromkeys(tasks):
            asked = dict.fromkeys(unit for unit, of in zip(units, tasks, strict=True) if of == task)
            new = [unit for unit in asked if unit not in answers]
            if self.answers is None:
                answers.update(zip(new, compute(new), strict=True))
                continue
            form = [kind, self.max_length, str(self.model.dtype), self._stops if kind == "generate_until" else None]
            keys = {unit: AnswerCache.key(form, unit) for unit in new}
            known = self.answers.get(keys.values())
            answers.update((unit, known[key]) for unit, key in keys.items() if key in known)
            new = [unit for unit in new if keys[unit] not in known]
            computed = compute(new)
            self.answers.put({keys[unit]: answer for unit, answer in zip(new, computed, strict=True)})
            answers.update(zip(new, computed, strict=True))
        return [answers[unit] for unit in units]

    def _score_options(self, questions: list[tuple[Tokens, tuple[Tokens, ...]]]) -> list[list[Score]]:
        scores = iter(self._score([(context, option) for context, options in questions for option in options]))
        return [[next(scores) for _ in options] for _, options in questions]

    def _score_windows(self, texts: list[tuple[Pair, ...]]) -> list[float]:
        every = [window for windows in texts for window in windows]
        scores = iter(self._score(every, seen=[self._inputs(*window) for window in every]))
        return [round(sum(next(scores)[0] for _ in windows), DIGITS) for windows in texts]

    def _diverge(self, texts: list[tuple[Pair, ...]]) -> list[float]:
        return [round(value, DIGITS) for value in divergences(self._dense, self.forward, texts)] if texts else []

    @functools.cached_property
    def _dense(self) -> Forward:
        """Loaded when it is needed first."""
        return Forward(self.dense.load(), self.forward.rows_at_most or "auto")

    def _score(self, pairs: Sequence[Pair], seen: Sequence[Tokens] | None = None) -> list[Score]:
        """Scores of continuations; pairs with the same input tokens share a row, as one-token options do.

        `seen` is what a soft prompt is chosen by, where there is a choice; the contexts if it is not given.
        """
        seen = [context[-self.max_length :] for context, _ in pairs] if seen is None else seen
        first: dict[tuple[Tokens, int], int] = {}
        asked: dict[tuple[Tokens, int], list[int]] = defaultdict(list)
        for number, (pair, choice) in enumerate(zip(pairs, self.forward.choices(seen), strict=True)):
            tokens = self._inputs(*pair)
            start = len(tokens) - len(pair[1])
            key = tokens, choice.prompt
            first[key] = min(start, first.get(key, start))
            asked[key].append(number)
        totals, greedy = [0.0] * len(pairs), [True] * len(pairs)
        rows = [Row(tokens, start, prompt) for (tokens, prompt), start in first.items()]
        for nodes, logits in self.forward.logits(rows):
            places, targets, numbers, end = [], [], [], 0
            for node in nodes:
                end += node.end - node.first
                for row in node.rows():
                    for number in asked[row.tokens, row.prompt]:
                        continuation = pairs[number][1]
                        start = len(row.tokens) - len(continuation)
                        some = range(max(start, node.first), node.end)
                        places.extend(position + end - node.end for position in some)
                        targets.extend(continuation[position - start] for position in some)
                        numbers.extend([number] * len(some))
            index = torch.tensor(places, device=self._device), torch.tensor(targets, device=self._device)
            logits = logits.float()
            values = logits.log_softmax(-1)[index].tolist()
            said = _likeliest(logits, *index).tolist()
            for number, value, is_likeliest in zip(numbers, values, said, strict=True):
                totals[number] += value
                greedy[number] &= is_likeliest
        return [(round(total, DIGITS), said) for total, said in zip(totals, greedy, strict=True)]

    def _generate(self, units: list[tuple[Tokens, int, tuple[str, ...]]]) -> list[str]:
        texts: dict = {}
        for most, until in dict.fromkeys((most, until) for _, most, until in units):
            end = [] if self.eot_token_id is None else [self.eot_token_id]
            stops = [*until, self.tok_decode(end, skip_special_tokens=False)]

            @functools.cache
            def done(tokens: Tokens, stops=tuple(stops)) -> bool:
                text = self.tok_decode(tokens)
                return tokens[-1] in self._stops or any(stop in text for stop in stops if stop)

            prompts = dict.fromkeys(tokens for tokens, *rest in units if rest == [most, until])
            answers = self.forward.greedy(list(prompts), lambda answer, done=done: done(tuple(answer)), most)
            for tokens, answer in answers.items():
                text = postprocess_generated_text(self.tok_decode(answer), stop=stops, think_end_token=None)
                texts[tokens, most, until] = text
        return [texts[unit] for unit in units]

    @functools.cached_property
    def _stops(self) -> list[int]:
        """Tokens that end an answer."""
        of_model = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        found = {self.eot_token_id, *([of_model] if isinstance(of_model, int) else of_model or [])}
        return sorted(found - {None})


def _likeliest(logits: Tensor, places: Tensor, targets: Tensor) -> Tensor:
    """Whether each target is the first of the largest logits at its place, which is looked for where it is one."""
    found = logits[places, targets] == logits.amax(-1)[places]
    found[found.clone()] = logits[places[found]].argmax(-1) == targets[found]
    return found
