"""Do probes and inference fall together? The change of probes against that of entailment, one point a cell."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.grid import Cell
from palimpsest.presentation import quantities, rate_axis, style
from palimpsest.presentation.data import CELL, Number, Quantity, Tables

TITLE = "Change of probes against change of entailment"
CHANGE, RHO = "probe_change", "probe_nli_spearman"


def panels_of(tables: Tables) -> list[tuple[str, str, str]]:
    """(model, group of probes, inference task)."""
    rows = tables.metrics[tables.metrics["metric"] == CHANGE]
    keys = rows[["model", "task", "subset"]].drop_duplicates().itertuples(index=False, name=None)
    order = ["surface", "syntax", "semantics", "facts"]

    def place(key: tuple[str, str, str]) -> tuple:
        model, group, task = key
        return tables.models.index(model), task, order.index(group) if group in order else len(order), group

    return sorted((key for key in keys if key[0] in tables.models), key=place)


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A panel a group of probes (and model, and task); x: entailment, y: probes, in points; Spearman's ρ above."""
    asked = panels_of(tables)
    if not asked:
        return style.nothing_to_draw(width, "No cell has both probes and a task of entailment.")
    figure, panels = rate_axis.small_multiples(width, len(asked), height=1.75)
    handles: dict[str, object] = {}
    for panel, (model, group, task) in zip(panels, asked, strict=True):
        change = Quantity(group, group, CHANGE, subset=task)
        probes = {cell: number.times(100) for cell, number in tables.where_it_stands(change).items()}
        probes = {cell: number for cell, number in probes.items() if cell.model == model}
        inference = tables.numbers(quantities.change_of(quantities.inference(tables, task)), list(probes))
        panel.axhline(0, color=style.RULE, linewidth=0.8)
        panel.axvline(0, color=style.RULE, linewidth=0.8)
        for cell, number in probes.items():
            other, look = inference[cell].times(100), tables.looks[cell.label]
            xerr, yerr = ([[arm] for arm in one.errors] for one in (other, number))
            handles[cell.label] = panel.errorbar(other.value, number.value, yerr, xerr, linestyle="none", **look.points)
        _title(panel, tables, model, group, rho(tables, model, group, task))
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel("probes (points)")
    figure.supxlabel(
        " or ".join(dict.fromkeys(quantities.inference(tables, task).title for *_, task in asked)) + " (points)",
        fontsize=7.5,
    )
    style.legend(figure, *rate_axis.in_order(tables, handles))
    return figure


def rho(tables: Tables, model: str, group: str, task: str) -> Number | None:
    """The rank correlation, of four cells or more."""
    quantity = Quantity(group, group, RHO, subset=task, may_lack_verdict=True)
    found = tables.where_it_stands(quantity)
    return found.get(tables.dense(model))


def cells(tables: Tables) -> list[Cell]:
    """The cells that have both."""
    rows = tables.metrics[tables.metrics["metric"] == CHANGE]
    there = {Cell(*row) for row in rows[CELL].drop_duplicates().itertuples(index=False, name=None)}
    return [cell for cell in tables.cells if cell in there]


def _title(panel: Axes, tables: Tables, model: str, group: str, found: Number | None) -> None:
    name = f"{model}: {group}" if len(tables.models) > 1 else group.replace("_", " ")
    words = "too few cells for ρ"
    if found is not None and found.value == found.value:
        name += f", {found.n} cells"
        words = f"ρ = {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
    panel.set_title(f"{name}\n{words}", fontsize=6.8)
