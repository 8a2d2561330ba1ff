"""Which attention heads tell true from false: a probe's accuracy at each head, dense and low rank."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import head_maps, rate_axis, style
from palimpsest.presentation.data import CELL, Tables
from palimpsest.presentation.figures.probe_layers import one_rate
from palimpsest.presentation.level_names import cell_titles

TITLE = "Accuracy of a probe at each attention head, dense and low rank"
HEAD = "head "
MOST = 4  # maps of cells beside the dense model's
CHANCE = 50


def panels_of(tables: Tables) -> dict[tuple[str, str], list[Cell]]:
    """(model, probe) -> the dense model and low-rank cells whose heads were probed: of many those of one rate."""
    if not (tables.folder / "probes.parquet").exists():
        return {}
    rows = tables.probes
    rows = rows[rows["subset"].astype(str).str.startswith(HEAD) & (rows["metric"] == "acc")]
    found = {}
    for (model, task), own in rows[rows["recovery"] == "none"].groupby(["model", "task"], sort=True, observed=True):
        read = {Cell(*row) for row in own[CELL].drop_duplicates().itertuples(index=False, name=None)}
        cells = one_rate([cell for cell in rate_axis.low_rank(tables, model) if cell in read], MOST)[:MOST]
        if model in tables.models and tables.dense(model) in read and cells:
            found[model, str(task)] = [tables.dense(model), *cells]
    return found


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A row a probe and model, a map a cell: blocks upwards, heads to the right; chance is the lightest."""
    asked = panels_of(tables)
    if not asked:
        return style.nothing_to_draw(width, "No probe read the attention heads of a low-rank cell.")
    columns = max(map(len, asked.values()))
    figure = style.new_figure(width, 0.5 + 1.35 * len(asked))
    axes = figure.subplots(len(asked), columns, squeeze=False)
    maps = {key: [heads(tables, key[1], cell) for cell in cells] for key, cells in asked.items()}
    scale = Normalize(CHANCE, max(found.max() for some in maps.values() for found in some))
    for line, (key, cells) in zip(axes, asked.items(), strict=True):
        titles = cell_titles(cells, several_models=False)
        for panel in line[len(cells) :]:
            panel.set_visible(False)
        for panel, title, found in zip(line, titles, maps[key], strict=False):
            drawn = panel.imshow(found, cmap="Blues", norm=scale, origin="lower", aspect="auto")
            panel.set_title(title.replace(" ", "\n", 1) if width < style.WIDE else title, fontsize=6.5)
            head_maps.frame(panel, found.shape, leftmost=panel is line[0])
        line[0].set_ylabel(f"{key[1].replace('_', ' ')}\nblock", fontsize=7)
    head_maps.finish(figure, axes, drawn, "accuracy (%)")
    return figure


def heads(tables: Tables, task: str, cell: Cell) -> np.ndarray:
    """(blocks, heads), in per cent."""
    rows = tables.probes
    rows = rows[(rows["task"] == task) & (rows["metric"] == "acc") & (rows["recovery"] == "none")]
    rows = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
    number = rows["subset"].astype(str).str.removeprefix(HEAD).astype(int)
    table = rows.assign(head=number, layer=rows["layer"].astype(int)).pivot(
        index="layer", columns="head", values="value"
    )
    return 100 * table.to_numpy()
