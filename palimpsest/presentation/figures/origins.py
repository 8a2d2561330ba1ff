"""Where answers come from: the passage, training, or nowhere; and biographies that are fluent and wrong."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from palimpsest.presentation import style
from palimpsest.presentation.data import Quantity, Tables
from palimpsest.presentation.level_names import cell_titles
from palimpsest.presentation.quantities import title_of

TITLE = "Where answers come from"
SAID, OTHERS, TRAINING = "what the passage says of the person", "what it says of somebody else", "what training said"
OTHER, NONE = "another value", "no value"
TRUE, FLUENT, BROKEN = "all true", "well formed, but not true", "not well formed, or not complete"
# origin of an answer, or what a biography is -> color, hatch
LOOKS = {
    SAID: ("#0072b2", None), OTHERS: ("#8fc1e3", "//////"), TRAINING: ("#e69f00", None), OTHER: ("#b0b0b5", None),
    NONE: ("#e4e4e8", "......"), TRUE: ("#00795a", None), FLUENT: ("#a23b7e", "//////"), BROKEN: ("#e9d5e2", "......"),
}  # fmt: skip
# task -> metric -> the origin of its answers
ORIGINS = {
    "open_book_contradiction": {"exact_match": SAID, "copied": OTHERS, "learned": TRAINING},
    "closed_book_distracted": {"exact_match": TRAINING, "copied": OTHERS},
    "open_book_absent": {"copied": OTHERS},
}
BIOGRAPHY = "Biography"


def panels_of(tables: Tables) -> dict[str, dict[str, Quantity]]:
    """Title of a panel -> origin of an answer -> the share of the answers that come from there."""
    found: dict[str, dict[str, Quantity]] = {}
    for task, metrics in ORIGINS.items():
        metrics = metrics | {"other": OTHER, "no_value": NONE}
        for subset, people in (("one", "one person"), ("three", "three people")):
            shares = {origin: Quantity(origin, task, metric, subset=subset) for metric, origin in metrics.items()}
            if all(map(tables.has, shares.values())):
                found[f"{title_of(task).split(', ')[-1]}, {people}".capitalize()] = shares
    metrics = {"exact_match": TRUE, "fluent_but_wrong": FLUENT}
    shares = {what: Quantity(what, "biography", metric) for metric, what in metrics.items()}
    return found | ({BIOGRAPHY: shares} if all(map(tables.has, shares.values())) else {})


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a task, a row a cell (dense models first), a bar of 100 %: the shares of the places answers come from."""
    panels = panels_of(tables)
    cells = tables.cells
    columns = min(len(panels), max(1, int(width / 1.6)))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(width, 0.9 + rows * (0.5 + 0.165 * len(cells)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True, sharex=True)
    names = cell_titles(cells, several_models=len(tables.models) > 1)
    drawn = []
    for panel, (title, shares) in zip(grid.flat, panels.items(), strict=False):
        left = [0.0] * len(cells)
        for origin, quantity in shares.items():
            values = [100 * number.value for number in tables.numbers(quantity, cells).values()]
            drawn.append(_bars(panel, origin, values, left))
            left = [start + value for start, value in zip(left, values, strict=True)]
        if title == BIOGRAPHY:
            drawn.append(_bars(panel, BROKEN, [100 - start for start in left], left))
        panel.set_title(title.replace(", ", ",\n"))
        panel.grid(visible=False)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(cells)), names)
    panel.set_xlim(0, 100)
    panel.set_ylim(len(cells) - 0.4, -0.6)
    for unused in list(grid.flat)[len(panels) :]:
        unused.set_visible(False)
    figure.supxlabel("questions (%)", fontsize=7.5)
    origins = [origin for origin in LOOKS if origin in drawn]
    handles = [Patch(facecolor=color, edgecolor="white", hatch=hatch) for color, hatch in map(LOOKS.get, origins)]
    style.legend(figure, handles, origins)
    return figure


def _bars(panel, origin: str, values: list[float], left: list[float]) -> str:
    color, hatch = LOOKS[origin]
    panel.barh(
        range(len(values)), values, left=left, height=0.78, color=color, hatch=hatch, edgecolor="white", linewidth=0
    )
    return origin
