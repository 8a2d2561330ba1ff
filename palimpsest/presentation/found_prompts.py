"""What a study found of soft prompts: what longer ones buy, and whether choosing among them does."""

from __future__ import annotations

from palimpsest.analysis.choices import DEFAULT
from palimpsest.grid import Cell
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.figures.choices import choosing, gain
from palimpsest.presentation.figures.cost import shown
from palimpsest.presentation.figures.prompt_length import lengths_of, texts
from palimpsest.presentation.quantities import CLOSED_BOOK, IDP_GAIN, title_of
from palimpsest.presentation.summary import few, named, points


def dynamic(tables: Tables) -> list[str]:
    """Whether choosing among prompts beats the best of them, whichever way it falls; then other ways to choose."""
    asked, sentences = gain(tables), []
    if asked is None:
        return []
    of = "closed book" if asked == IDP_GAIN else title_of(asked.task)
    for cell, names in choosing(tables).items():
        gains = {name: tables.numbers(asked, [cell], name)[cell] for name in names}
        for name in (name for name, how in names.items() if how == DEFAULT):
            verdict = (
                "it beats the best of its prompts" if gains[name].low > 0
                else "it is worse than the best of its prompts" if gains[name].high < 0
                else "it is not shown to beat the best of its prompts"
            )  # fmt: skip
            sentences.append(
                f"{named(tables, cell, name)}: {verdict}, {points(gains[name])} of {of} about people of whom no text "
                "speaks."
            )
        others = [f"{name} {points(gains[name])}" for name, how in names.items() if how != DEFAULT]
        if others:
            sentences.append(f"{named(tables, cell)}, chosen otherwise: {few(others)}.")
    return sentences


def gains(tables: Tables) -> str:
    """The same in a sentence for the caption: in how many cells choosing is better, and worse."""
    asked, found = gain(tables), {True: [], False: []}
    for cell, names in choosing(tables).items():
        for name, how in names.items():
            found[how == DEFAULT].append(tables.numbers(asked, [cell], name)[cell])
    words = {True: "Chosen by the default options", False: "chosen otherwise"}
    parts = [
        f"{words[default]}, {sum(number.low > 0 for number in numbers)} of {len(numbers)} recoveries beat the best of "
        f"their prompts, and worse are {sum(number.high < 0 for number in numbers)}"
        for default, numbers in found.items()
        if numbers
    ]
    return f"{'; '.join(parts)} (intervals without zero)." if parts else ""


def lengths(tables: Tables) -> list[str]:
    """A sentence a cell on what twice as many tokens change; then in how many cells they buy perplexity alone."""
    sentences, alone = [], []
    found = lengths_of(tables)
    for cell, tokens in found.items():
        right, multiplied = _right(tables, cell), _multiplied(tables, cell)
        changes = [f"{title} by {points(number)}" for title, number in right.items()]
        factors = [f"{title} {_times(number)}" for title, number in multiplied.items()]
        words = " and ".join(
            ([f"changes {', '.join(changes)} about people of whom no text speaks"] if changes else [])
            + ([f"multiplies the perplexity of {', of '.join(factors)}"] if factors else [])
        )
        ends = f"{min(tokens.values())} to {max(tokens.values())} tokens"
        sentences.append(f"{named(tables, cell)}: twice as long a prompt ({ends}) {words}.")
        falls = any(number.high < 1 for number in multiplied.values())
        if right and multiplied:
            alone.append(falls and not any(number.low > 0 for number in right.values()))
    if alone:
        sentences.append(
            f"Longer prompts lower a perplexity without being shown to raise accuracy in {sum(alone)} of {len(alone)} "
            "cells."
        )
    return sentences


def _right(tables: Tables, cell: Cell) -> dict[str, Number]:
    asked = CLOSED_BOOK if tables.has(CLOSED_BOOK) else next(iter(shown(tables)), None)
    return _slopes(tables, cell, [asked] if asked else [], "per_doubling")


def _multiplied(tables: Tables, cell: Cell) -> dict[str, Number]:
    return _slopes(tables, cell, texts(tables), "perplexity_per_doubling")


def _slopes(tables: Tables, cell: Cell, asked: list[Quantity], metric: str) -> dict[str, Number]:
    """By title; over all questions where a small world has none on facts never shown to leave out."""
    found = {}
    for quantity in asked:
        slopes = [Quantity(quantity.title, quantity.task, metric, subset) for subset in (quantity.subset, "all")]
        slope = next((slope for slope in slopes if tables.has(slope)), None)
        if slope:
            found[slope.title] = tables.numbers(slope, [cell])[cell]
    return found


def _times(number: Number) -> str:
    return f"by {number.value:.3f} [{number.low:.3f}, {number.high:.3f}]"
