"""How many parameters a trained recovery has, and the largest one that a budget of parameters pays for.

Counted is what stays after training: a prompt encoder (p-tuning) leaves the vectors that it has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.targets import matrices

ALPHA = 2  # times the rank, where a budget makes the rank and no alpha is given: the scale stays what it is


def size_option(options: Mapping[str, Any]) -> str:
    """The option that says how large the recovery is."""
    return "rank" if "rank" in options else "tokens"


def costs(method: str, model: nn.Module, options: Mapping[str, Any]) -> tuple[int, int]:
    """Parameters whatever the size, and parameters for each rank or token."""
    if "rank" in options:
        shapes = matrices(method, model, options["modules"]).values()
        magnitudes = sum(rows for rows, _ in shapes) if method == "dora" else 0
        return magnitudes, sum(rows + columns for rows, columns in shapes)
    config = model.config.get_text_config()
    if method != "prefix":
        return 0, config.hidden_size
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 0, 2 * config.num_hidden_layers * heads * width


def with_size(method: str, defaults: Mapping[str, Any], given: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """All options, with the rank or length that the budget makes; raises PalimpsestError where it makes none."""
    options, size = {**defaults, **given}, size_option(defaults)
    if options["budget"] is None:
        _check_count(method, size, options[size])
        return options
    _check_count(method, "budget", options["budget"])
    if size in given:
        raise PalimpsestError(f"recovery {method}: a budget makes the {size}: give either {size} or budget, not both.")
    fixed, each = costs(method, model, options)
    options[size] = (options["budget"] - fixed) // each
    if options[size] < 1:
        raise PalimpsestError(
            f"recovery {method}: a budget of {options['budget']} parameters is under its smallest, {size} 1, which has "
            f"{fixed + each}. Write budget: {fixed + each} or more."
        )
    if size == "rank" and "alpha" not in given:
        options["alpha"] = ALPHA * options["rank"]
    return options


def _check_count(method: str, option: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PalimpsestError(f"recovery {method}: {option} {value!r} is not a whole number of at least 1.")
