"""Our engine against lm-eval's HFLM: the same model (random weights, Atlas's shape), questions and thread."""

from __future__ import annotations

import tempfile
from pathlib import Path

from timing import interleaved, medians, table

ATLAS = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}


def rows() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return _rows(Path(folder))


def _rows(folder: Path) -> list[str]:
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    import palimpsest
    from palimpsest.evaluation.data import write_task
    from palimpsest.evaluation.harness import ask
    from palimpsest.settings import Architecture, World
    from palimpsest.world.build import build
    from palimpsest.world.training import new_model

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
    model = new_model(Architecture(**ATLAS), len(tokenizer), torch.arange(4, 364), seed=0).eval()
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

        times = interleaved(theirs=theirs, ours=ours)
        a, b = medians(times).values()
        same = kept["ours"]["answer"].equals(kept["theirs"]["answer"])
        found.append([task, len(kept["ours"]), f"{a:.2f}", f"{b:.2f}", f"{a / b:.1f}", "yes" if same else "NO"])
    return table("task | questions | HFLM s | ours s | HFLM / ours | same answers", found)
