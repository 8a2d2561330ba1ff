"""The matrices of a block by name, whatever the architecture calls them. No torch here."""

from __future__ import annotations

from collections.abc import Iterable

from palimpsest.compression.families import FAMILIES

# What a module does in its block, by the end of its path. Bolaco's five groups are those of Llama's modules but v.
ROLES = {
    "qk": ("q_proj", "k_proj", "attention.self.query", "attention.self.key"),
    "v": ("v_proj", "attention.self.value"),
    "qkv": ("qkv_proj", "attn.c_attn", "attention.query_key_value"),
    "o": ("o_proj", "out_proj", "self_attn.dense", "attn.c_proj", "attention.dense", "attention.output.dense"),
    "gate": ("gate_proj", "gate_up_proj"),
    "up": ("up_proj", "fc1", "mlp.c_fc", "mlp.dense_h_to_4h", "intermediate.dense"),
    "down": ("down_proj", "fc2", "mlp.c_proj", "mlp.dense_4h_to_h", "output.dense"),
}


def known() -> tuple[str, ...]:
    """Every module that some architecture has, by its path in its block."""
    return tuple(dict.fromkeys(layer for family in FAMILIES.values() for layer in family.layers))


def named(name: str, modules: Iterable[str]) -> tuple[str, ...]:
    """The modules that a name means: the one of that path, or those whose path ends so."""
    modules = tuple(modules)
    return (name,) if name in modules else tuple(module for module in modules if module.endswith(f".{name}"))


def role_of(module: str) -> str:
    """What a module does in its block, by the longest end of its path that is known."""
    ends = {end: role for role, some in ROLES.items() for end in some if f".{module}".endswith(f".{end}")}
    return ends[max(ends, key=len)]
