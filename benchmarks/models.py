"""Checkpoints with random weights and calibration rows, for benchmarks that need a model of some size."""

from __future__ import annotations

from pathlib import Path

VOCABULARY = 8192


def random_llama(
    folder: Path,
    *,
    hidden: int,
    intermediate: int,
    layers: int,
    dtype: str = "float32",
    shard: str = "200MB",
    seed: int = 0,
) -> Path:
    """A Llama with random weights, saved in shards as the hub has them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=2048,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def calibration(folder: Path, *, samples: int, length: int, vocabulary: int = VOCABULARY, seed: int = 0) -> Path:
    """A calibration artifact of random tokens."""
    import torch

    rows = torch.randint(0, vocabulary, (samples, length), generator=torch.Generator().manual_seed(seed))
    return write_calibration(folder, rows)


def write_calibration(folder: Path, rows) -> Path:
    """A calibration artifact of these rows (samples, length), none of them padded."""
    import torch
    from safetensors.torch import save_file

    from palimpsest.calibration import RECORD, ROWS
    from palimpsest.provenance import atomic_folder, write_json

    lengths = torch.full((len(rows),), rows.shape[1])
    with atomic_folder(folder) as temporary:
        save_file({"input_ids": rows, "lengths": lengths}, temporary / ROWS)
        write_json(temporary / RECORD, {"samples": len(rows), "length": rows.shape[1], "seed": 0, "text": "benchmark"})
    return folder
