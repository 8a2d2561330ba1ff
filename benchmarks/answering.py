"""Our engine against lm-eval's HFLM: the same model (random weights), questions and thread.

The world's tasks run on Atlas's shape, through all of lm-eval; questions of real lengths on a longer Llama, of which
30 % of the arithmetic is the projection to the vocabulary, by the engines alone. Seconds are CPU time of one thread.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from timing import interleaved, medians, ratio, table

ATLAS = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}
LONG = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 704}
VOCABULARY = 8192
HFLM_ROWS = 8  # a batch, at which HFLM is fastest here; its own default is 1


def rows() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [*_rows(Path(folder)), "", *_real_lengths()]


def _rows(folder: Path) -> list[str]:
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    import palimpsest
    from palimpsest.evaluation.data import write_task
    from palimpsest.evaluation.harness import ask
    from palimpsest.settings import Architecture, World
    from palimpsest.world.build import build
    from palimpsest.world.decoder import new_model

    class Peer(HFLM):
        """HFLM, which does not count the tokens that our rows have a column for."""

        def loglikelihood(self, requests, **options):
            for request in requests:
                request.scored_tokens = 0
            return super().loglikelihood(requests, **options)

        def loglikelihood_rolling(self, requests, **options):
            for request in requests:
                request.scored_tokens = 0
            return super().loglikelihood_rolling(requests, **options)

    torch.set_num_threads(1)
    build(World(people=60, documents=64, texts=40, questions_per_subset=100), folder / "world")
    tokenizer = AutoTokenizer.from_pretrained(folder / "world" / "tokenizer")
    model = new_model(Architecture(**ATLAS), tokenizer, torch.arange(4, 364), seed=0).eval()
    found = []
    for task in ("closed_book", "closed_book_mc", "open_book", "entailment", "perplexity"):
        write_task(task, folder / task, world=folder / "world")
        kept: dict[str, object] = {}

        def ours(task=task, kept=kept):
            kept["ours"] = ask(palimpsest.lm(model, tokenizer), [folder / task])

        def theirs(task=task, kept=kept):
            # The same path through lm-eval, with its own model in the place of ours.
            engine = Peer(pretrained=model, tokenizer=tokenizer, batch_size=32)
            kept["theirs"] = ask(engine, [folder / task])

        times = interleaved(clock=time.process_time, theirs=theirs, ours=ours)
        a, b = medians(times).values()
        same = kept["ours"]["answer"].equals(kept["theirs"]["answer"])
        found.append([task, len(kept["ours"]), f"{a:.2f}", f"{b:.2f}", f"{a / b:.1f}", "yes" if same else "NO"])
    return table("task | questions | HFLM, CPU s | ours, CPU s | HFLM / ours | same answers", found)


def _real_lengths() -> list[str]:
    import questions
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import LlamaConfig, LlamaForCausalLM

    from palimpsest.evaluation.language_model import LanguageModel

    letters, cloze, endings = questions.mmlu(20), questions.mmlu_cloze(20), questions.hellaswag(60)
    texts = [text for text, _ in questions.mmlu(1000)]
    texts += [" ".join([context, *options]) for context, options in questions.hellaswag(3000)]
    tokenizer = questions.tokenizer(texts, VOCABULARY)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**LONG, vocab_size=len(tokenizer), max_position_embeddings=4096)).eval()
    generated = {"until": ["\n"], "max_gen_toks": 3, "do_sample": False}
    found = []
    for name, asked, kind in (
        ("MMLU, 5-shot, letters", letters, "loglikelihood"),
        ("MMLU, 5-shot, generated", [(prompt, [generated]) for prompt, _ in letters], "generate_until"),
        ("MMLU, 0-shot, options' texts", cloze, "loglikelihood"),
        ("HellaSwag, 0-shot", endings, "loglikelihood"),
    ):
        requests = questions.requests(kind, asked)
        kept: dict[str, list] = {}

        def ours(kept=kept, kind=kind, requests=requests):
            kept["ours"] = getattr(LanguageModel(model, tokenizer), kind)(requests)

        def theirs(batch=HFLM_ROWS, kept=kept, kind=kind, requests=requests):
            kept["theirs"] = getattr(HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch), kind)(requests)

        times = interleaved(repeats=3, clock=time.process_time, default=partial(theirs, 1), theirs=theirs, ours=ours)
        found.append([name, len(asked), *(f"{seconds:.2f}" for seconds in medians(times).values()),
                      ratio(times, "default", "ours"), ratio(times, "theirs", "ours"),
                      *_compared(kept["ours"], kept["theirs"])])  # fmt: skip
    where = "real questions" if questions.data() else "random words of real lengths"
    return table(
        f"{where} | questions | HFLM, batch 1, CPU s | batch {HFLM_ROWS}, CPU s | ours, CPU s | "
        f"batch 1 / ours (range) | batch {HFLM_ROWS} / ours (range) | same answers | log-prob. off by",
        found,
    )


def _compared(ours: list, theirs: list) -> tuple[str, str]:
    """Whether four options have the same best one (texts are the same), and the largest difference of a score."""
    if isinstance(ours[0], str):
        return "yes" if ours == theirs else "NO", "–"
    best = [
        [max(range(4), key=lambda option: scores[start + option][0]) for start in range(0, len(scores), 4)]
        for scores in (ours, theirs)
    ]
    return "yes" if best[0] == best[
        1
    ] else "NO", f"{max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True)):.0e}"
