"""The same method and level on different models: what a checkpoint with outliers asks of a method, say."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import level_title
from palimpsest.presentation.names import shared_cells

TITLE = "The same cells on different models"
MARKERS = ("o", "s", "^", "D", "v", "P")
COLORS = ("#0072b2", "#d55e00", "#00795a", "#a23b7e", "#e69f00", "#1c1c1e")


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A row a label and level, a marker a model; the line between them is what the model makes of the method."""
    shared = shared_cells(cell for cell in tables.answering(quantities.CLOSED_BOOK.task) if not cell.is_dense)
    every = [cell for same in shared.values() for cell in same]
    numbers = {cell: number.times(100) for cell, number in tables.numbers(quantities.CLOSED_BOOK, every).items()}
    models = list(dict.fromkeys(cell.model for cell in every))
    looks = {model: (COLORS[place % 6], MARKERS[place % 6]) for place, model in enumerate(models)}
    figure = style.new_figure(width, 0.8 + 0.17 * len(shared))
    panel = figure.subplots()
    handles: dict[str, object] = {}
    several = any(seed for _, _, seed in shared)
    names, before = [], None
    for y, ((label, level, seed), same) in enumerate(shared.items()):
        values = [numbers[cell].value for cell in same]
        panel.plot([min(values), max(values)], [y, y], color=style.EDGE, linewidth=1.6, zorder=1)
        for place, cell in enumerate(same):
            color, marker = looks[cell.model]
            below, above = numbers[cell].errors
            shift = (place - (len(same) - 1) / 2) * 0.14
            handles[cell.model] = panel.errorbar(
                numbers[cell].value, y + shift, xerr=[[below], [above]], linestyle="none", elinewidth=0.9, color=color,
                marker=marker, markerfacecolor=color if place == 0 else style.PAPER, markeredgecolor=color,
            )  # fmt: skip
        if before not in (None, label):
            panel.axhline(y - 0.5, color=style.RULE, linewidth=0.6)
        before = label
        names.append(f"{label} {level_title(level)}" + f" s{seed}" * several)
    for model in models:
        dense = 100 * tables.numbers(quantities.CLOSED_BOOK, [tables.dense(model)])[tables.dense(model)].value
        panel.axvline(dense, color=looks[model][0], linewidth=0.9, linestyle=style.DASHED, zorder=0)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("closed book, facts shown (%)")
    style.legend(figure, [handles[model] for model in models], models)
    return figure
