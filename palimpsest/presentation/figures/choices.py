"""Which soft prompt is chosen, and whether choosing is better than the best prompt alone."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from palimpsest.analysis.choices import DEFAULT
from palimpsest.grid import Cell
from palimpsest.presentation import quantities, style
from palimpsest.presentation.data import CELL, Number, Quantity, Tables
from palimpsest.presentation.level_names import cell_titles

TITLE = "Which prompt is chosen, and what choosing gains"
HATCHES = (None, "//////", "......", "xxxxxx", "\\\\\\\\\\\\")
ROW, HEADING = 0.19, 1.0  # inches a row; rows that a cell's heading takes
CHOSEN, CONTROL = ("#0072b2", "o", "#0072b2"), (style.INK, "s", style.PAPER)  # color, marker, inside
WORDS = {CHOSEN: "default choice", CONTROL: "other choice"}


def gain(tables: Tables) -> Quantity | None:
    """What choosing gains: closed book, or the first task of another study; None where nothing chooses."""
    if tables.has(quantities.IDP_GAIN):
        return quantities.IDP_GAIN
    tasks = sorted(set(tables.metrics.loc[tables.metrics["metric"] == quantities.IDP_GAIN.metric, "task"]))
    return Quantity(f"over the best prompt, {quantities.title_of(tasks[0])}", tasks[0], "idp_gain") if tasks else None


def choosing(tables: Tables) -> dict[Cell, dict[str, str]]:
    """Each cell's recoveries that choose, with by which options; those of the default ones first."""
    rows = tables.metrics[tables.metrics["metric"] == "choosing"]
    found = {}
    for cell, recoveries in tables.recoveries.items():
        mine = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
        how = dict(zip(mine["recovery"], mine["subset"], strict=True))
        names = sorted(set(recoveries) & set(how), key=lambda name: (how[name] != DEFAULT, name))
        if names:
            found[cell] = {name: how[name] for name in names}
    return found


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """Rows of recoveries under each cell: left what share of the inputs each prompt has, right the gain in points."""
    asked, cells = gain(tables), choosing(tables)
    if asked is None or not cells:
        return style.nothing_to_draw(width, "No recovery chooses among prompts.")
    shares = {(cell, name): _shares(tables, cell, name, asked.task) for cell in cells for name in cells[cell]}
    prompts = sorted({prompt for found in shares.values() for prompt in found}, key=_natural)
    looks = {prompt: (style.RECOVERIES[n % 12][0], HATCHES[n % len(HATCHES)]) for n, prompt in enumerate(prompts)}
    count = sum(HEADING + len(names) for names in cells.values())
    figure = style.new_figure(width, 0.95 + ROW * count)
    left, right = figure.subplots(1, 2, sharey=True)
    place, ticks, drawn = 0.0, {}, {}
    for (cell, names), heading in zip(cells.items(), cell_titles(list(cells), len(tables.models) > 1), strict=True):
        left.text(0.01, place, heading, transform=left.get_yaxis_transform(), fontsize=6.5, va="center",
                  fontweight="bold", color=style.INK)  # fmt: skip
        place += HEADING
        for name, how in names.items():
            ticks[place] = name
            _bar(left, place, shares[cell, name], looks)
            look = CHOSEN if how == DEFAULT else CONTROL
            drawn[look] = _point(right, place, tables.numbers(asked, [cell], name)[cell].times(100), look)
            place += 1
    left.set_yticks(list(ticks), list(ticks.values()))
    left.set_ylim(place - 0.4, -0.7)
    left.set_xlim(0, 100)
    left.set_xlabel("inputs (%)")
    right.set_xlabel("points over the best")
    right.axvline(0, color=style.INK, linewidth=0.8, zorder=0)
    low, high = right.get_xlim()
    right.set_xlim(min(low, -2), max(high, 2))
    for panel in (left, right):
        panel.grid(axis="y", visible=False)
        panel.tick_params(axis="y", length=0)
    handles = [Patch(facecolor=color, edgecolor="white", hatch=hatch) for color, hatch in looks.values()]
    points = [look for look in WORDS if look in drawn]
    style.legend(figure, [*handles, *(drawn[look] for look in points)], [*looks, *(WORDS[look] for look in points)])
    return figure


def _shares(tables: Tables, cell: Cell, recovery: str, task: str) -> dict[str, float]:
    """prompt -> share of the inputs of a task; empty where the mean of all prompts is taken."""
    rows = tables.metrics
    rows = rows[(rows["metric"] == "choice_share") & (rows["task"] == task) & (rows["recovery"] == recovery)]
    rows = rows[(rows[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
    return dict(zip(rows["subset"], rows["value"], strict=True))


def _natural(name: str) -> list:
    """prompt-8 before prompt-32."""
    return [int(part) if part.isdigit() else part for part in name.replace("_", "-").split("-")]


def _bar(panel: Axes, place: float, shares: dict[str, float], looks: dict[str, tuple]) -> None:
    if not shares:
        panel.text(50, place, "mean of all prompts", fontsize=6, va="center", ha="center", color=style.INK)
    start = 0.0
    for prompt in sorted(shares, key=_natural):
        color, hatch = looks[prompt]
        panel.barh(place, 100 * shares[prompt], left=start, height=0.78, color=color, hatch=hatch, edgecolor="white",
                   linewidth=0)  # fmt: skip
        start += 100 * shares[prompt]


def _point(panel: Axes, place: float, number: Number, look: tuple[str, str, str]):
    color, marker, inside = look
    return panel.errorbar(
        number.value, place, xerr=[[arm] for arm in number.errors], linestyle="none", elinewidth=0.9, markersize=3.5,
        color=color, marker=marker, markerfacecolor=inside, markeredgecolor=color,
    )  # fmt: skip
