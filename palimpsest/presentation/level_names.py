"""Levels in words and in order, and the families that they make of the methods."""

from __future__ import annotations

from collections.abc import Sequence

from palimpsest import levels
from palimpsest.grid import Cell
from palimpsest.presentation import style

SEVERITY = ("full", "sparsity", "n:m", "format", "bits", "joint", "kept share", "rank share")


def family(cell: Cell) -> str:
    """pruning, quantization, low rank, …: what the cell's level is a level of."""
    return style.FAMILIES[levels.parse(cell.level).syntax]


def severity(level: str) -> tuple:
    """A key that sorts levels of one family from mild to harsh."""
    parsed = levels.parse(level)
    amount = {
        "sparsity": lambda: (parsed.fraction,),
        "n:m": lambda: (parsed.fraction, parsed.group),
        "bits": lambda: (-parsed.bits, parsed.group or float("inf")),
        "kept share": lambda: (-parsed.share,),
        "rank share": lambda: (-parsed.share,),
        "joint": lambda: (severity(parsed.pruning.text), severity(parsed.quantization.text)),
        "format": lambda: (parsed.name,),
        "full": lambda: (0,),
    }
    return (SEVERITY.index(parsed.syntax), *amount[parsed.syntax]())


def level_title(level: str, words: bool = True) -> str:
    """A level in few words: `50 %`, `2:4`, `3 bit`, `80 % kept` (`80 %`, where an axis says what is kept)."""
    parsed = levels.parse(level)
    if parsed.syntax == "sparsity":
        return f"{100 * parsed.fraction:g} %"
    if parsed.syntax == "bits":
        return f"{parsed.bits} bit" + (f" g{parsed.group}" if parsed.group else "")
    if parsed.syntax == "rank share":
        return f"rank {100 * parsed.share:g} %"
    if parsed.syntax == "joint":
        return f"{level_title(parsed.pruning.text)} + {level_title(parsed.quantization.text)}"
    if parsed.syntax == "kept share":
        return f"{100 * parsed.share:g} % kept" if words else f"{100 * parsed.share:g} %"
    return parsed.text


def cell_titles(cells: Sequence[Cell], several_models: bool) -> list[str]:
    """Cells in few words, for an axis: `gptq 3 bit`, with the model and the seed where these tell cells apart."""
    names = [
        f"{cell.model} dense"
        if cell.is_dense
        else f"{cell.model} " * several_models + f"{cell.label} {level_title(cell.level)}"
        for cell in cells
    ]
    if any(cell.seed for cell in cells):
        names = [f"{name} s{cell.seed}" for name, cell in zip(names, cells, strict=True)]
    return names
