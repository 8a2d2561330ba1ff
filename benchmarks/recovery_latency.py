"""What a prompt, a prefix and LoRA cost in time on a random Llama: the first pass over an input, and a new token.

The claims under test (Hoang et al., arXiv:2310.00867) are "21 times fewer parameters" and "60 % less latency" than
LoRA. The clock is that of the one thread that computes: what else the machine does is not in it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import models
from timing import medians, ratio, table

HIDDEN, INTERMEDIATE, LAYERS = 1024, 2816, 8  # 103 M parameters in blocks
CONTEXTS, NEW_TOKENS, ROUNDS = (128, 512, 1024), 16, 3
PHASES, MERGED = ("prefill", "decode"), "LoRA r=16, merged"
# Ranks, and the matrices of a block.
LORA = {
    "LoRA r=8": (8, ["q_proj", "v_proj"]),
    "LoRA r=16": (16, ["q_proj", "v_proj"]),
    "LoRA r=8, all": (8, "all-linear"),
}
PAIRS = (("LoRA r=8", "prompt 49"), ("LoRA r=16", "prompt 98"), ("LoRA r=8, all", "prompt 49"))
LLAMA_7B = {"hidden": 4096, "intermediate": 11008, "layers": 32}


def rows() -> list[str]:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = models.random_llama(Path(name) / "model", hidden=HIDDEN, intermediate=INTERMEDIATE, layers=LAYERS)
        works, extra = _works(folder)
    times = _times(works)
    lines = [
        f"A random Llama of {LAYERS} layers and width {HIDDEN} (103 M parameters in blocks, float32), one row. LoRA on "
        "queries and values, or on all seven matrices. Milliseconds of CPU time of the one thread, medians of "
        f"{ROUNDS} rounds; ratios are taken round by round, with their range. Keys and values of prompts are there "
        "before the input.",
        "",
    ]
    lines += table(
        "input of | run | extra parameters | prefill ms | a token ms | prefill / dense | a token / dense",
        [
            [
                f"{context:,} tokens", work, f"{extra[work]:,}",
                *(f"{medians(times[context, phase])[work]:.1f}" for phase in PHASES),
                *(ratio(times[context, phase], work, "dense", 2) for phase in PHASES),
            ]
            for context in CONTEXTS
            for work in works
        ],
    )  # fmt: skip
    lines += ["", "60 % less latency is a ratio of 2.5. The last column is computed for LLaMA-7B's shape.", ""]
    lines += table(
        "LoRA over a prompt | input of | prefill | a token | merged: prefill | merged: a token | parameters | LLaMA-7B",
        [
            [
                f"{lora} / {prompt}", f"{context:,} tokens",
                *(ratio(times[context, phase], run, prompt, 2) for run in (lora, MERGED) for phase in PHASES),
                f"{extra[lora] / extra[prompt]:.1f}",
                f"{_in_llama(lora, prompt):.1f}",
            ]
            for lora, prompt in PAIRS
            for context in CONTEXTS
        ],
    )  # fmt: skip
    return lines


def _works(folder: Path) -> tuple[dict, dict[str, int]]:
    """Engines by name, and what each adds in parameters."""
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM

    from palimpsest.evaluation.forward import Forward

    kind = {"task_type": TaskType.CAUSAL_LM}
    base = AutoModelForCausalLM.from_pretrained(folder)
    works, extra = {"dense": Forward(base)}, {"dense": 0}

    def add(name: str, model) -> None:
        extra[name] = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        works[name] = Forward(model)

    base.requires_grad_(False)
    for tokens in (49, 98):
        add(f"prompt {tokens}", get_peft_model(base, PromptTuningConfig(num_virtual_tokens=tokens, **kind)))
    add("prefix 49", get_peft_model(base, PrefixTuningConfig(num_virtual_tokens=49, **kind)))
    for name, (rank, matrices) in LORA.items():
        own = AutoModelForCausalLM.from_pretrained(folder)
        add(name, get_peft_model(own, LoraConfig(r=rank, target_modules=matrices, **kind)))
    own = AutoModelForCausalLM.from_pretrained(folder)
    lora = get_peft_model(own, LoraConfig(r=16, target_modules=["q_proj", "v_proj"], **kind))
    works[MERGED], extra[MERGED] = Forward(lora.merge_and_unload()), 0
    return works, extra


def _times(works: dict) -> dict[tuple[int, str], dict[str, list[float]]]:
    """(context, phase) -> run -> milliseconds, in rounds over all runs."""
    from palimpsest.measurement.speed import latency

    found = {(context, phase): {work: [] for work in works} for context in CONTEXTS for phase in PHASES}
    for forward in works.values():
        latency(forward, range(16), 2)
    for _ in range(ROUNDS):
        for context in CONTEXTS:
            tokens = [number % models.VOCABULARY for number in range(context)]
            for work, forward in works.items():
                for phase, spent in zip(PHASES, latency(forward, tokens, NEW_TOKENS, time.thread_time), strict=True):
                    found[context, phase][work].append(spent)
    return found


def _in_llama(lora: str, prompt: str) -> float:
    """Extra parameters of LoRA over those of a prompt."""
    (rank, matrices), tokens = LORA[lora], int(prompt.split()[1])
    hidden, intermediate = LLAMA_7B["hidden"], LLAMA_7B["intermediate"]
    inputs_and_outputs = 2 * 2 * hidden if matrices != "all-linear" else 4 * 2 * hidden + 3 * (hidden + intermediate)
    return LLAMA_7B["layers"] * rank * inputs_and_outputs / (tokens * hidden)
