"""Features are low rank, weights are not? Singular spectra of both, and how many directions carry them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import represented, style
from palimpsest.presentation.data import Tables

TITLE = "Singular spectra of weights and of activations"
PARTS = {  # scoring -> words, colour, marker
    "weight": ("weights", "#0072b2", "s"),
    "input": ("what goes in", "#e69f00", "^"),
    "output": ("what comes out", "#d55e00", "o"),
}
LOWEST = 1e-3  # of the largest singular value: below it nothing is drawn


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A row a model: its spectra, effective ranks by matrix (bars: over blocks), and their means by cell."""
    models: dict[str, list[Cell]] = {}
    for cell in represented.cells_of(tables, "weight"):
        models.setdefault(cell.model, []).append(cell)
    wide = width > 5
    rows = max(max(map(len, models.values())), 7)
    high = 0.75 + 0.185 * rows
    figure = style.new_figure(width, (high if wide else 2 * high + 1.9) * len(models) + 0.35)
    shape = (len(models), 3) if wide else (3 * len(models), 1)
    axes = figure.subplots(*shape, squeeze=False, width_ratios=[1.05, 1, 1] if wide else [1]).reshape(-1, 3)
    handles = []
    for panels, (model, cells) in zip(axes, models.items(), strict=True):
        dense = next(cell for cell in cells if cell.is_dense)
        several = f"{model}: " * (len(models) > 1)
        handles = _curves(panels[0], tables, dense)
        panels[0].set_title(f"{several}singular values", fontsize=7.5)
        _ranks(panels[1], by_matrix(tables, dense))
        panels[1].set_title("dense, by matrix", fontsize=7.5)
        titles = represented.titles(tables, cells)
        _ranks(panels[2], {title: by_part(tables, cell) for title, cell in zip(titles, cells, strict=True)})
        panels[2].set_title("mean of all, by cell", fontsize=7.5)
    style.legend(figure, handles, [words for words, _, _ in PARTS.values()])
    return figure


def _curves(panel: Axes, tables: Tables, cell: Cell) -> list:
    points = represented.points(tables, cell)
    tasks = ("", represented.texts_of(tables, "output"))
    handles = []
    for part, (_, color, _) in PARTS.items():
        own = points[(points["scoring"] == part) & points["task"].isin(tasks)]
        curves = own.pivot_table(index="place", columns=["layer", "subset"], values="value")
        panel.plot(curves.index * 100, curves.clip(lower=LOWEST / 10), color=color, linewidth=0.4, alpha=0.35)
        handles += panel.plot(curves.index * 100, curves.median(axis=1), color=color, linewidth=1.8)
    panel.set_yscale("log")
    panel.set_ylim(LOWEST, 1.2)
    panel.set_xlim(0, 100)
    panel.set_xlabel("place (% of the full rank)")
    panel.set_ylabel("share of the largest")
    return handles


def _ranks(panel: Axes, rows: dict[str, dict[str, np.ndarray]]) -> None:
    """A line of three points a row, the first row on top."""
    for place, parts in enumerate(rows.values()):
        for number, (part, values) in enumerate(parts.items()):
            _, color, marker = PARTS[part]
            height, mean = place + 0.22 * (number - 1), float(values.mean())
            panel.plot([values.min(), values.max()], [height, height], color=color, linewidth=0.9)
            panel.plot(mean, height, color=color, marker=marker, markersize=3.6, linestyle="none")
    panel.set_yticks(range(len(rows)), list(rows))
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xlim(0, 100)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0, labelsize=6.5)
    panel.set_xlabel("effective rank (%)")


def by_matrix(tables: Tables, cell: Cell) -> dict[str, dict[str, np.ndarray]]:
    """Matrix -> part -> effective ranks of all blocks in %."""
    found = {part: represented.shares(tables, cell, part) for part in PARTS}
    names = dict.fromkeys(name for _, name in found["weight"])
    return {
        name: {part: np.array([value for (_, other), value in own.items() if other == name])
               for part, own in found.items()}
        for name in names
    }  # fmt: skip


def by_part(tables: Tables, cell: Cell) -> dict[str, np.ndarray]:
    """Part -> the mean effective rank over all matrices in %."""
    return {part: np.array([represented.mean_share(tables, cell, part)]) for part in PARTS}
