"""Where each architecture keeps its blocks and their matrices. No torch here.

An architecture is added by adding its row. Embeddings, norms, biases and the head are not compressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError


@dataclass(frozen=True)
class Coupling:
    """A matrix and those that make what it reads: a channel that it no longer reads, they need not make."""

    consumer: str
    producers: tuple[str, ...]
    heads: bool = False  # its inputs are those of attention heads, which come and go whole
    stacked: int = 1  # so many matrices lie one upon the other in each producer (queries, keys, values; gate, up)


@dataclass(frozen=True)
class Family:
    """`groups` are the matrices of a block that share an input, in the order in which the block uses them.

    `blocks` is the list of blocks, and `norm` what stands between the last of them and the head, as paths in the
    language model; an encoder's blocks end with their own norm.
    """

    blocks: str
    groups: tuple[tuple[str, ...], ...]
    couplings: tuple[Coupling, ...]
    norm: str | None = None
    transposed: bool = False  # matrices are stored (in, out)
    causal: bool = True  # a decoder; an encoder's tokens see each other both ways, so that its padding must be masked

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(layer for group in self.groups for layer in group)


_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
_LLAMA = Family(
    "model.layers",
    (_QKV, ("self_attn.o_proj",), _GATE_UP, ("mlp.down_proj",)),
    (Coupling("self_attn.o_proj", _QKV, heads=True), Coupling("mlp.down_proj", _GATE_UP)),
    norm="model.norm",
)
_BERT = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    ("attention.output.dense",),
    ("intermediate.dense",),
    ("output.dense",),
)
_BERT_COUPLINGS = (
    Coupling("attention.output.dense", _BERT[0], heads=True),
    Coupling("output.dense", ("intermediate.dense",)),
)
FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    # Phi's attention and MLP read the same normalized input.
    "phi": Family(
        "model.layers",
        ((*_QKV, "mlp.fc1"), ("self_attn.dense",), ("mlp.fc2",)),
        (Coupling("self_attn.dense", _QKV, heads=True), Coupling("mlp.fc2", ("mlp.fc1",))),
        norm="model.final_layernorm",
    ),
    "phi3": Family(
        "model.layers",
        (("self_attn.qkv_proj",), ("self_attn.o_proj",), ("mlp.gate_up_proj",), ("mlp.down_proj",)),
        (
            Coupling("self_attn.o_proj", ("self_attn.qkv_proj",), heads=True, stacked=3),
            Coupling("mlp.down_proj", ("mlp.gate_up_proj",), stacked=2),
        ),
        norm="model.norm",
    ),
    "opt": Family(
        "model.decoder.layers",
        (_QKV, ("self_attn.out_proj",), ("fc1",), ("fc2",)),
        (Coupling("self_attn.out_proj", _QKV, heads=True), Coupling("fc2", ("fc1",))),
        norm="model.decoder.final_layer_norm",
    ),
    "gpt2": Family(
        "transformer.h",
        (("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
        (
            Coupling("attn.c_proj", ("attn.c_attn",), heads=True, stacked=3),
            Coupling("mlp.c_proj", ("mlp.c_fc",)),
        ),
        norm="transformer.ln_f",
        transposed=True,
    ),
    # Queries, keys and values of GPT-NeoX are interleaved head by head: each head's rows are neighbours.
    "gpt_neox": Family(
        "gpt_neox.layers",
        (("attention.query_key_value",), ("attention.dense",), ("mlp.dense_h_to_4h",), ("mlp.dense_4h_to_h",)),
        (
            Coupling("attention.dense", ("attention.query_key_value",), heads=True),
            Coupling("mlp.dense_4h_to_h", ("mlp.dense_h_to_4h",)),
        ),
        norm="gpt_neox.final_layer_norm",
    ),
    "bert": Family("bert.encoder.layer", _BERT, _BERT_COUPLINGS, causal=False),
    "roberta": Family("roberta.encoder.layer", _BERT, _BERT_COUPLINGS, causal=False),
}


def family_of(config: Mapping[str, Any], folder: Path) -> Family:
    """The family of a checkpoint by its config.json."""
    name = config.get("model_type")
    if name not in FAMILIES:
        raise PalimpsestError(
            f"{folder / 'config.json'}: model_type is {name!r}; the blocks of this architecture are not known. "
            f"Known: {', '.join(sorted(FAMILIES))}."
        )
    return FAMILIES[name]


def is_encoder(model_type: str) -> bool:
    """Whether an architecture is a known encoder."""
    return model_type in FAMILIES and not FAMILIES[model_type].causal
