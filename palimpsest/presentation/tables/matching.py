"""At which levels each label matches its dense model, and where it stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from palimpsest import levels
from palimpsest.grid import Cell
from palimpsest.presentation import quantities
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import level_title
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Levels that match the dense model: at most 5 % fewer right answers"


def rows(tables: Tables) -> Table:
    """One row a task and label: levels by verdict, and the level at which 95 % of dense's accuracy is passed."""
    several = len(tables.models) > 1
    named = [Column(name, name, right=False) for name in ("task", *("model",) * several, "label")]
    columns = [
        Column("matching", "matching", right=False),
        Column("undecided", "undecided", right=False),
        Column("not_matching", "not matching", right=False),
        Column("stops", "stops at", right=False),
    ]
    table = Table([*named, *columns])
    for lost, _ in quantities.flips(tables):
        verdicts = tables.numbers(
            replace(lost, metric="matching"), [cell for cell in tables.answering(lost.task) if not cell.is_dense]
        )
        stops = tables.where_it_stands(replace(lost, metric="stops_matching", may_lack_verdict=True))
        for index, ((model, label), cells) in enumerate(_labels(verdicts)):
            row = {"task": lost.title, "model": model, "label": label} | _levels(cells, verdicts)
            stop = next((said(stops[cell], cell.level) for cell in cells if cell in stops), None)
            table.add(row | {"stops": stop}, new_block=index == 0)
    return table


def _labels(verdicts: dict[Cell, Number]) -> Iterator[tuple[tuple[str, str], list[Cell]]]:
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in verdicts:
        found.setdefault((cell.model, cell.label), []).append(cell)
    return iter(found.items())


def _levels(cells: Sequence[Cell], verdicts: dict[Cell, Number]) -> dict[str, str]:
    """The levels with each verdict; one that its seeds do not agree on is undecided."""
    sorted_in: dict[str, list[str]] = {"matching": [], "undecided": [], "not_matching": []}
    for level in dict.fromkeys(cell.level for cell in cells):
        found = {verdicts[cell].value for cell in cells if cell.level == level}
        name = "matching" if min(found) > 0 else "not_matching" if max(found) < 0 else "undecided"
        sorted_in[name].append(level_title(level))
    return {name: ", ".join(levels) or "–" for name, levels in sorted_in.items()}


def said(stop: Number, level: str) -> str:
    """`0.45 [0.42, 0.47]` on the levels' own scale; an open end is a dash, a level outside of those tried `beyond 0.6`.

    `level` is one of them: sparsity grows with harshness, bits and kept shares fall.
    """
    low, high = (f"{end:.2f}" if end == end else "–" for end in (stop.low, stop.high))
    if stop.value == stop.value:
        return f"{stop.value:.2f} [{low}, {high}]"
    mild, harsh = (high, low) if levels.parse(level).syntax == "sparsity" else (low, high)
    return f"beyond {harsh}" if harsh != "–" else f"before {mild}" if mild != "–" else "–"
