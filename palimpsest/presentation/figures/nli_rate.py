"""What low-rank algorithms leave of entailment, and of other tasks with a few classes, at each rate."""

from __future__ import annotations

from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, rate_axis, style
from palimpsest.presentation.data import Quantity, Tables

TITLE = "Entailment against rate, for each low-rank algorithm"
AGAIN = 2  # rates of a label with the same recovery, from which on its cells make a line


def panels_of(tables: Tables) -> list[tuple[str, Quantity, float, str]]:
    """(model, accuracy, what chance answers, recovery) of the models that have low-rank cells and answer the task.

    The recovery is "none", or of an encoder that answers nothing else the fine-tuning that comes after compression.
    """
    found = []
    for model in tables.models:
        dense, cells = tables.dense(model), rate_axis.low_rank(tables, model)
        for quantity, chance in quantities.classified(tables):
            for recovery in ["none", *tables.recovered.get(dense, [])]:
                there = tables.where_it_stands(quantity, recovery)
                if dense in there and any(cell in there for cell in cells):
                    found.append((model, quantity, chance, recovery))
                    break
    return found


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a model and task; the dense model, and chance, are lines; with a recovery hollow and dotted."""
    asked = panels_of(tables)
    if not asked:
        return style.nothing_to_draw(width, "No low-rank cell answers a task of entailment or classification.")
    figure, panels = rate_axis.small_multiples(width, len(asked), most_columns=3, height=1.9)
    handles: dict[str, object] = {}
    absent: list[Cell] = []
    for panel, (model, quantity, chance, before) in zip(panels, asked, strict=True):
        there = {cell: number.times(100) for cell, number in tables.where_it_stands(quantity, before).items()}
        cells = rate_axis.low_rank(tables, model)
        absent += [cell for cell in cells if cell not in there]
        cells = [cell for cell in cells if cell in there]
        rates, dense = rate_axis.saved(tables, cells), there[tables.dense(model)]
        handles["dense"] = rate_axis.draw_level(panel, dense)
        handles["chance"] = rate_axis.draw_floor(panel, 100 * chance, style.DOTTED)
        handles |= rate_axis.draw_labels(panel, tables, {cell: there[cell] for cell in cells}, dense.value, rates)
        for recovery in again(tables, cells) if before == "none" else []:
            some = [cell for cell in cells if recovery in tables.recovered.get(cell, [])]
            numbers = {cell: number.times(100) for cell, number in tables.numbers(quantity, some, recovery).items()}
            drawn = rate_axis.draw_again(panel, tables, numbers, rates)
            handles[f"hollow: + {recovery}"] = next(iter(drawn.values()))
        title = quantity.title if before == "none" else f"{quantity.title}, + {before}"
        panel.set_title(f"{model}: {title}" if len(tables.models) > 1 else title)
    panels[0].set_ylabel("accuracy (%)")
    rate_axis.finish(figure, panels)
    for panel in panels:
        style.percentages(panel)
    rate_axis.say_absent(figure, tables, absent, "not asked")
    style.legend(figure, *rate_axis.in_order(tables, handles, "dense"))
    return figure


def again(tables: Tables, cells: list[Cell]) -> list[str]:
    """The recovery that makes a line at most labels: fine-tuned after compression; none where it is on single cells."""
    lines: dict[str, int] = {}
    for label in dict.fromkeys(cell.label for cell in cells):
        levels: dict[str, set[str]] = {}
        for cell in (cell for cell in cells if cell.label == label):
            for recovery in tables.recovered.get(cell, []):
                levels.setdefault(recovery, set()).add(cell.level)
        for recovery, found in levels.items():
            lines[recovery] = lines.get(recovery, 0) + (len(found) >= AGAIN)
    best = sorted((-count, name) for name, count in lines.items() if count)
    return [name for _, name in best[:1]]
