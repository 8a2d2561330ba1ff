"""Is a level better spent on some matrices than on all? Allocations beside uniform, at equal parameters."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.analysis.allocated import UNIFORM
from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.level_names import level_title

TITLE = "Compressing some matrices harder, against all alike"
SAME = 0.03  # relative difference of sizes up to which they are equal: uniform rounds every matrix down to a rank
ROW = 0.17  # inches
LETTERS, NAMES = 14, 1.2  # letters an inch; inches that the names of allocations take


@dataclass(frozen=True)
class Block:
    """The cells of one model, method, level and seed that only their allocation tells apart: uniform first."""

    title: str
    cells: list[Cell]
    names: list[str]
    sizes: list[float]  # measured bytes of the compressed matrices over the uniform cell's

    @property
    def equal(self) -> list[bool]:
        return [abs(ratio - 1) <= SAME for ratio in self.sizes]


def blocks(tables: Tables) -> list[Block]:
    names = tables.allocations
    bits = tables.measured("bits_per_weight", names) if names else {}
    groups: dict[tuple, list[Cell]] = {}
    for cell in names:
        groups.setdefault((cell.model, cell.method, cell.level, cell.seed), []).append(cell)
    found = []
    for (model, method, level, seed), cells in groups.items():
        cells.sort(key=lambda cell: names[cell] != UNIFORM)
        ratios = [bits[cell].value / bits[cells[0]].value for cell in cells]
        title = f"{model} " * (len(tables.models) > 1) + f"{method} {level_title(level)}" + f" s{seed}" * bool(seed)
        found.append(Block(title, cells, [names[cell] for cell in cells], ratios))
    return found


def measures(tables: Tables, block: Block) -> list[tuple[Quantity, str, float, float] | None]:
    """(quantity, axis, factor, where nothing changes): the first accuracy that the block's cells have, and perplexity
    without known facts; None for what they lack."""
    asked = (
        (quantities.accuracies(tables), "minus_uniform", "{}, points over uniform", 100.0, 0.0),
        (quantities.perplexities(tables, subsets=quantities.WITHOUT_KNOWN_FACTS), "perplexity_over_uniform",
         "perplexity on {}, over uniform's", 1.0, 1.0),
    )  # fmt: skip
    found = []
    for some, metric, words, factor, nothing in asked:
        changes = [Quantity(one.title, one.task, metric, subset=one.subset) for one in some]
        there = [one for one in changes if set(block.cells[1:]) <= set(tables.where_it_stands(one))]
        found.append((there[0], words.format(there[0].title), factor, nothing) if there else None)
    return found


def shown(tables: Tables) -> list[Block]:
    """The blocks that have something to compare."""
    return [block for block in blocks(tables) if any(measures(tables, block))]


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A block a method and level, a row an allocation; hollow where it costs other than uniform."""
    found = shown(tables)
    if not found:
        return style.nothing_to_draw(width, "No cell has an allocation and a uniform cell beside it.")
    asked = [measures(tables, block) for block in found]
    columns = [column for column in range(2) if any(some[column] for some in asked)]
    sizes = [len(block.cells) - 1 for block in found]
    figure = style.new_figure(width, 0.9 + sum(0.28 + ROW * size for size in sizes))
    axes = figure.subplots(
        len(found),
        len(columns),
        squeeze=False,
        sharex="col",
        gridspec_kw={"height_ratios": [size + 1 for size in sizes]},
    )
    room = max(10, int(LETTERS * (width - NAMES) / len(columns)))
    for place, (block, line) in enumerate(zip(found, axes, strict=True)):
        for panel, column in zip(line, columns, strict=True):
            if (measure := asked[place][column]) is None:
                panel.set_visible(False)
                continue
            quantity, axis, factor, nothing = measure
            numbers = tables.numbers(quantity, block.cells[1:])
            _block(panel, tables, block, [numbers[cell].times(factor) for cell in block.cells[1:]], nothing)
            panel.set_yticks(range(sizes[place]), _names(block) if panel is line[0] else [])
            below = asked[place + 1][column] if place + 1 < len(found) else None
            if below is None or below[1] != axis:
                panel.set_xlabel(textwrap.fill(axis, room))
        line[0].set_title(block.title)
    return figure


def _names(block: Block) -> list[str]:
    """The allocations, with how many more bytes those cost that are not equal."""
    rows = list(zip(block.names, block.sizes, block.equal, strict=True))[1:]
    return [name if same else f"{name}, {percent(ratio - 1)}" for name, ratio, same in rows]


def percent(change: float) -> str:
    """How much more: `+20 %`."""
    return f"{100 * change:+.0f} %".replace("-", "−")


def _block(panel: Axes, tables: Tables, block: Block, numbers: list[Number], nothing: float) -> None:
    panel.axvline(nothing, color=style.EDGE, linewidth=1.0, linestyle=style.DASHED)
    color = tables.looks[block.cells[0].label].color
    for place, (number, same) in enumerate(zip(numbers, block.equal[1:], strict=True)):
        panel.errorbar(
            number.value, place, xerr=[[arm] for arm in number.errors], linestyle="none", marker="o", markersize=4,
            color=color, markerfacecolor=color if same else style.PAPER, markeredgecolor=color, elinewidth=0.9,
        )  # fmt: skip
    panel.set_ylim(len(numbers) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
