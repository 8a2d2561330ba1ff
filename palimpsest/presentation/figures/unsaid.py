"""What a model no longer says, and a probe still reads."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import style
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "What is not said, and still read"
READ, CHANCE = "unsaid_read", "unsaid_chance"
LOOKS = (("o", style.PAPER), ("o", "#0072b2"))  # of the middle layer and the last


def layers(tables: Tables) -> list[Quantity]:
    """The share that the probe reads, at each of its layers."""
    rows = tables.metrics[tables.metrics["metric"] == READ][["task", "subset"]].drop_duplicates()
    found = sorted(rows.itertuples(index=False, name=None), key=lambda row: int(row[1].split()[1]))
    return [Quantity(subset, task, READ, subset=subset) for task, subset in found]


def cells_of(tables: Tables) -> list[Cell]:
    """The cells that leave known facts unsaid."""
    found = layers(tables)
    return [cell for cell in tables.where_it_stands(found[-1]) if not cell.is_dense] if found else []


def chances(tables: Tables, read: Quantity) -> dict[Cell, Number]:
    """What chance would read; not a number where a cell leaves one fact of an attribute unsaid, and no other."""
    quantity = Quantity(read.title, read.task, CHANCE, subset=read.subset, may_lack_verdict=True)
    return tables.where_it_stands(quantity)


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A row a cell; x: share of the facts that it does not say, a probe a layer, and what chance would read."""
    asked, cells = layers(tables), cells_of(tables)
    if not cells:
        return style.nothing_to_draw(width, "No cell leaves a fact unsaid that the dense model knows.")
    figure = style.new_figure(width, 0.95 + 0.17 * len(cells))
    panel = figure.subplots()
    handles: dict[str, object] = {}
    for number, quantity in enumerate(asked):
        marker, face = LOOKS[-1] if number == len(asked) - 1 else LOOKS[0]
        found = tables.where_it_stands(quantity)
        chance = chances(tables, quantity)
        shift = 0.18 * (number - (len(asked) - 1) / 2)
        for place, cell in enumerate(cells):
            if cell not in found:
                continue
            share = found[cell].times(100)
            arms = [[arm] for arm in share.errors]
            handles[f"probe, {quantity.title}"] = panel.errorbar(
                share.value, place + shift, xerr=arms, linestyle="none", marker=marker, color="#0072b2",
                markerfacecolor=face, elinewidth=0.9, markersize=4,
            )  # fmt: skip
            if number == len(asked) - 1:
                (handles["chance"],) = panel.plot(100 * chance[cell].value, place, "|", color=style.INK, markersize=7)
                panel.text(101.5, place, f"{share.n:,}", fontsize=6, va="center", color=style.INK)
    panel.set_yticks(range(len(cells)), cell_titles(cells, len(tables.models) > 1))
    panel.set_ylim(len(cells) - 0.5, -0.5)
    panel.set_xlim(0, 100)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("read of what is not said (%); right: how many")
    style.legend(figure, list(handles.values()), list(handles))
    return figure
