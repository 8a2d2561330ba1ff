"""What choosing a soft prompt for each input costs: the prefill of dynamic prompts against that of one plain prompt.

A Llama of about 300 million random weights, prompts of one length, the engine's own prefill: keys and values of the
prompts are there before, the choice is part of it. `layer: 1` is the first attention layer, `mean` all of them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from models import random_llama
from timing import interleaved, medians, table

SHAPE = {"hidden": 1024, "intermediate": 2816, "layers": 24}
PROMPT, CONTEXTS, REPEATS = 50, (64, 256), 5
LIMIT = 1.05


def rows() -> list[str]:
    import torch
    from peft import PromptTuningConfig, get_peft_model
    from transformers import LlamaForCausalLM

    from palimpsest.evaluation.forward import Forward
    from palimpsest.recovery.idp import dynamic_prompts

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = LlamaForCausalLM.from_pretrained(random_llama(Path(folder), **SHAPE)).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    words = model.get_input_embeddings().weight.detach()
    some = {f"prompt {number}": words[100 * number :][:PROMPT].clone() for number in range(3)}
    two = {name: some[name] for name in list(some)[:2]}
    ways = {
        "two": dynamic_prompts(model, two, {}),
        "three": dynamic_prompts(model, some, {}),
        "mean": dynamic_prompts(model, two, {"layer": "mean"}),
    }
    forwards = {name: Forward(way) for name, way in ways.items()}
    configuration = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=PROMPT)
    forwards["plain"] = Forward(get_peft_model(model, configuration))

    def prefill(name: str, tokens: tuple[int, ...]) -> None:
        forwards[name].chosen.clear()
        forwards[name].prefill(tokens)

    found = []
    for context in CONTEXTS:
        tokens = tuple(torch.randint(words.shape[0], (context,), generator=torch.Generator().manual_seed(0)).tolist())
        works = {name: lambda name=name, tokens=tokens: prefill(name, tokens) for name in ("plain", *ways)}
        times = interleaved(REPEATS, clock=time.process_time, **works)
        ratios = {name: _ratios(times, name) for name in ways}
        within = all(statistics.median(ratios[name]) <= LIMIT for name in ("two", "three"))
        said = [f"{statistics.median(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in ratios.values()]
        found.append([context, f"{medians(times)['plain']:.2f}", *said, "yes" if within else "NO"])
    text = (
        f"A Llama of {parameters / 1e6:.0f} million random weights in float32, prompts of {PROMPT} tokens, one row, "
        "CPU seconds of one thread. Ratios of the prefill to that of one plain prompt, turn by turn: median (range) of "
        f"{REPEATS}. The bound is {LIMIT:.2f} for a choice at the first layer."
    )
    header = "tokens | plain prompt, CPU s | two, layer 1 | three, layer 1 | two, mean over layers | within"
    return [text, "", *table(header, found)]


def _ratios(times: dict[str, list[float]], name: str) -> list[float]:
    return [a / b for a, b in zip(times[name], times["plain"], strict=True)]
