"""What a model would say if it stopped after a layer, dense and compressed."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.presentation import represented, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.level_names import level_title

TITLE = "The logit lens: what a model would say after each layer"
MEASURES = {
    "lens_top1_dense": ("as the dense model's\nlast layer says (%)", 100),
    "lens_cross_entropy": ("cross-entropy of the\ntrue token (nats)", 1),
    "lens_kl": ("KL to the model's own\nlast layer (nats)", 1),
}
LEVELS = (style.SOLID, style.DASHED, style.DOTTED, style.DASHDOT)  # of a label, from mild to harsh


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Bands: measures; columns: labels, with the dense model of the same model in each; a line a level."""
    cells = [cell for cell in represented.cells_of(tables, "logit_lens") if cell.label != represented.RANDOM]
    labels: dict[tuple[str, str], list] = {}
    for cell in cells:
        if not cell.is_dense:
            labels.setdefault((cell.model, cell.label), []).append(cell)
    labels = labels or {(cell.model, cell.label): [] for cell in cells}
    task = represented.texts_of(tables, "logit_lens")
    columns = min(len(labels), max(2, int((width - 0.3) / 1.5)))
    bands = -(-len(labels) // columns)
    figure = style.new_figure(width, 0.5 + 1.35 * len(MEASURES) * bands)
    axes = figure.subplots(len(MEASURES) * bands, columns, squeeze=False, sharex=True)
    for panel in axes.flat:
        panel.set_visible(False)
    several = len({cell.model for cell in cells}) > 1
    for number, ((model, label), own) in enumerate(labels.items()):
        look = tables.looks.get(label, style.DENSE)
        for row, (metric, (words, factor)) in enumerate(MEASURES.items()):
            panel = axes[number // columns * len(MEASURES) + row, number % columns]
            panel.set_visible(True)
            lines = [(tables.dense(model), style.DENSE.color, style.SOLID, "dense")]
            lines += [
                (
                    cell,
                    look.color,
                    LEVELS[place % len(LEVELS)],
                    level_title(cell.level) + f" s{cell.seed}" * bool(cell.seed),
                )
                for place, cell in enumerate(own)
            ]
            for cell, color, line, name in lines:
                found = represented.numbers(tables, cell, "logit_lens", metric, task)
                layers = sorted((int(layer), value.times(factor)) for (layer, _), value in found.items())
                places = [layer for layer, _ in layers]
                values = [value.value for _, value in layers]
                below, above = zip(*(value.errors for _, value in layers), strict=True)
                panel.errorbar(
                    places, values, [below, above], color=color, linestyle=line, marker="o", markersize=2.4,
                    linewidth=1, elinewidth=0.8, label=name,
                )  # fmt: skip
            if metric == "lens_top1_dense":
                panel.set_ylim(-3, 105)
            elif metric == "lens_cross_entropy":
                panel.set_yscale("log")
            else:
                panel.set_yscale("symlog", linthresh=0.1)  # of the last layer it is 0
                panel.set_ylim(bottom=0)
            if row == 0:
                panel.set_title(f"{model} " * several + label, fontsize=7.5)
                panel.legend(loc="lower right", fontsize=6, handlelength=2.2)
            if number % columns == 0:
                panel.set_ylabel(words, fontsize=7)
            else:
                panel.tick_params(labelleft=False)
            panel.grid(axis="x", visible=False)
            panel.tick_params(labelbottom=True)
            panel.set_xticks(places[:: -(-len(places) // 9)])
    for row, metric in enumerate(MEASURES):
        if metric != "lens_top1_dense":
            _alike([panel for panel in axes[row :: len(MEASURES)].flat if panel.get_visible()])
    figure.supxlabel("layer (0: embeddings)", fontsize=7.5)
    return figure


def _alike(panels: list[Axes]) -> None:
    """One scale for a measure, with ticks that can be read."""
    bottom, top = (end(panel.get_ylim()[side] for panel in panels) for side, end in ((0, min), (1, max)))
    ticks = [tick for tick in (0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if bottom <= tick <= top]
    for panel in panels:
        panel.set_ylim(bottom, top)
        panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
