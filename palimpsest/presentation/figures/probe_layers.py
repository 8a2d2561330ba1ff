"""Where in the model probes read: accuracy by layer, of the dense model and of low-rank cells."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import probes_of, rate_axis, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.figures.probe_rate import name_axes, panels_of, titled
from palimpsest.presentation.level_names import cell_titles, level_title, severity
from palimpsest.presentation.probes_of import Reading

TITLE = "Probe accuracy by layer, dense and low rank"
MOST = 6  # cells whose lines a panel can hold


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a probe; of more than six cells, those of the rate that most algorithms have, the hardest such one."""
    asked = panels_of(tables)
    if not asked:
        return style.nothing_to_draw(width, "No probe read a low-rank cell.")
    figure, panels = rate_axis.small_multiples(width, len(asked))
    drawn = {reading.model: shown(tables, [other for other in asked if other.model == reading.model])
             for reading in asked}  # fmt: skip
    handles: dict[str, object] = {}
    for panel, reading in zip(panels, asked, strict=True):
        layers, read = probes_of.layers(tables, reading), probes_of.low_rank(tables, reading)
        cells = [cell for cell in drawn[reading.model] if cell in read]
        dense = tables.dense(reading.model)
        found = {
            layer: probes_of.numbers(tables, reading, layer, [dense, *cells]) for layer in layers
        }  # fmt: skip
        own = [found[layer][dense].times(100) for layer in layers]
        band = panel.fill_between(
            layers, [number.low for number in own], [number.high for number in own], color=style.EDGE, alpha=0.3,
            linewidth=0,
        )  # fmt: skip
        [line] = panel.plot(layers, [number.value for number in own], color=style.INK, marker=".")
        handles["dense"] = (band, line)
        floors = [probes_of.floor(tables, reading, layer) for layer in layers]
        if all(floors):
            [handles["random weights"]] = panel.plot(
                layers, [100 * number.value for number in floors], color=style.EDGE, linestyle=style.DOTTED,
                linewidth=1.2,
            )  # fmt: skip
        for name, cell, look in looks(tables, cells):
            numbers = [found[layer][cell].times(100) for layer in layers]
            arms = list(zip(*(number.errors for number in numbers), strict=True))
            handles[name] = panel.errorbar(
                layers, [number.value for number in numbers], arms, linestyle=look.line, linewidth=1.0, **look.points
            )
        panel.set_title(titled(reading, asked), fontsize=7)
        panel.set_xticks(layers if len(layers) <= 7 else layers[:: -(-len(layers) // 6)])
        panel.grid(axis="x", visible=False)
    name_axes(panels, [reading.axis for reading in asked])
    for panel in panels:
        middle = sum(panel.get_ylim()) / 2
        style.at_least(panel, middle - 5, middle + 5)
        style.percentages(panel)
    figure.supxlabel("layer (0: the embeddings)", fontsize=7.5)
    style.legend(figure, *rate_axis.in_order(tables, handles, "dense"))
    return figure


def shown(tables: Tables, readings: list[Reading]) -> list[Cell]:
    """The cells whose lines are drawn in the panels of a model."""
    read = {cell for reading in readings for cell in probes_of.low_rank(tables, reading)}
    return one_rate([cell for cell in tables.cells if cell in read], MOST)[: 2 * MOST]


def one_rate(cells: list[Cell], most: int) -> list[Cell]:
    """All of a few cells, else those of the level that most labels have, the hardest such one; of seeds the first."""
    cells = [cell for cell in cells if cell.seed == min(other.seed for other in cells if other.label == cell.label)]
    if len(cells) <= most:
        return cells
    levels = {level: sum(cell.level == level for cell in cells) for level in {cell.level for cell in cells}}
    hardest = max(levels, key=lambda level: (levels[level], severity(level)))
    return [cell for cell in cells if cell.level == hardest]


def looks(tables: Tables, cells: list[Cell]) -> list[tuple[str, Cell, style.Look]]:
    """(name, cell, look): a label's harder levels are hollow and dashed, then half filled."""
    several = len({cell.level for cell in cells}) > 1
    found, seen = [], {}
    lines, fills = (style.SOLID, style.DASHED, style.DASHDOT, style.DOTTED), ("full", "none", "left", "bottom")
    for cell in sorted(cells, key=lambda cell: severity(cell.level)):
        place = seen[cell.label] = seen.get(cell.label, -1) + 1
        own = tables.looks[cell.label]
        name = f"{cell.label} {level_title(cell.level)}"
        found.append((name, cell, style.Look(own.color, own.marker, lines[place % 4], fills[place % 4])))
    order = {name: place for place, name in enumerate(cell_titles(cells, several_models=False))}
    return sorted(found, key=lambda one: order.get(one[0], 0)) if several else found
