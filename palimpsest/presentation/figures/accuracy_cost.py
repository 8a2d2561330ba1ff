"""What compression buys in time and size: accuracy against measured latency and bytes, of every cell."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.level_names import family, severity

TITLE = "Accuracy against measured latency and size"
TIMES = {"prefill": "time to read\nthe input", "decode": "time of a\ngenerated token"}
BYTES = "bytes"


def panels_of(tables: Tables) -> list[tuple[str, Quantity]]:
    """(model, accuracy): entailment or another classification where the model answers it, else its first accuracy."""
    found = []
    for model in tables.models:
        dense = tables.dense(model)
        asked = [quantity for quantity, _ in quantities.classified(tables)] + quantities.accuracies(tables)
        asked = [quantity for quantity in asked if dense in tables.where_it_stands(quantity)]
        if asked and tables.contexts(model):
            found.append((model, asked[0]))
    return found


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A row a model; x: time or bytes over the dense model's. Low-rank cells run as the two factors that they are."""
    asked = panels_of(tables)
    if not asked:
        return style.nothing_to_draw(width, "No latency was measured beside an accuracy.")
    figure = style.new_figure(width, 0.95 + 1.75 * len(asked))
    axes = figure.subplots(len(asked), len(TIMES) + 1, squeeze=False, sharey="row")
    handles: dict[str, object] = {}
    for (model, quantity), line in zip(asked, axes, strict=True):
        there = {cell: number.times(100) for cell, number in tables.where_it_stands(quantity).items()}
        cells = [cell for cell in tables.cells if cell.model == model and not cell.is_dense and cell in there]
        context, dense = tables.contexts(model)[-1], there[tables.dense(model)]
        size = tables.measured("bytes_total")
        whole = size[tables.dense(model)].value
        ratios = {
            phase: {cell: found for cell in cells if (found := over_dense(tables, phase, context, cell))}
            for phase in TIMES
        } | {BYTES: {cell: Number(*[size[cell].value / whole] * 3, 1) for cell in cells}}
        names = {phase: f"{words}, {context:,} tokens" if phase == "prefill" else words
                 for phase, words in TIMES.items()} | {BYTES: "bytes on disk"}  # fmt: skip
        for panel, (what, found) in zip(line, ratios.items(), strict=True):
            panel.axhline(dense.value, color=style.INK, linewidth=0.8)
            panel.axvline(1, color=style.EDGE, linewidth=1.0, linestyle=style.DASHED)
            handles["dense"] = panel.errorbar(
                1, dense.value, [[arm] for arm in dense.errors], linestyle="none", **style.DENSE.points
            )
            handles |= _cells(panel, tables, found, there)
            panel.set_xlabel(f"{names[what]}\n(over dense)")
            panel.xaxis.set_major_locator(MaxNLocator(4))
        title = f"{model}: {quantity.title}" if len(tables.models) > 1 else quantity.title
        line[0].set_ylabel(f"{title} (%)".replace(", ", ",\n").replace(": ", ":\n"))
        middle = sum(line[0].get_ylim()) / 2
        style.at_least(line[0], middle - 5, middle + 5)
        style.percentages(line[0])
    order = ["dense", *(label for label in tables.labels if label in handles and label != "dense")]
    style.legend(figure, [handles[name] for name in order], order)
    return figure


def over_dense(tables: Tables, phase: str, context: int, cell: Cell) -> Number | None:
    """Time over the dense model's in the same round: of a low-rank cell as two factors, of another as it is loaded."""
    kind = f"{phase}_factors_over_dense" if family(cell) == "low rank" else f"{phase}_over_dense"
    return tables.timed(kind, context, cell)


def _cells(panel: Axes, tables: Tables, ratios: Mapping[Cell, Number], known: Mapping[Cell, Number]) -> dict:
    """A marker a cell, a line a label from mild to harsh."""
    handles = {}
    for label in dict.fromkeys(cell.label for cell in ratios):
        look = tables.looks[label]
        mine = sorted((cell for cell in ratios if cell.label == label), key=lambda cell: severity(cell.level))
        for cell in mine:
            xerr, yerr = ([[arm] for arm in one.errors] for one in (ratios[cell], known[cell]))
            handles[label] = panel.errorbar(
                ratios[cell].value, known[cell].value, yerr, xerr, linestyle="none", **look.points
            )
        points = [(ratios[cell].value, known[cell].value) for cell in mine]
        panel.plot(*zip(*points, strict=True), color=look.color, linestyle=look.line, linewidth=0.7, zorder=1)
    return handles
