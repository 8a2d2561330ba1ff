"""Cells of a study that differ in one thing: what they are compared with. Plain Python, no tables."""

from __future__ import annotations

from palimpsest.grid import Cell, Grid
from palimpsest.levels import parse

PLAIN = "svd"
LOW_RANK = ("kept share", "rank share")  # kinds of levels


def of_allocations(grid: Grid) -> dict[Cell, Cell]:
    """The cells with an allocation -> the cell where every matrix has the same level, of those that have one."""
    uniform, allocated = {}, {}
    for cell in grid.cells():
        if cell.is_dense:
            continue
        settings = {key: value for key, value in grid.settings(cell).items() if key != "allocation"}
        key = (cell.model, cell.method, cell.level, cell.seed, repr(sorted(settings.items())))
        if grid.allocation(cell) is None:
            uniform.setdefault(key, cell)
        else:
            allocated[cell] = key
    return {cell: uniform[key] for cell, key in allocated.items() if key in uniform}


def of_plain_svd(grid: Grid) -> dict[Cell, Cell]:
    """Low-rank cells of other methods -> plain SVD's at their level, where there is one."""
    cells = [cell for cell in grid.cells() if parse(cell.level).syntax in LOW_RANK and grid.allocation(cell) is None]
    plain: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        if cell.method == PLAIN:
            plain.setdefault((cell.model, cell.level), cell)
    others = [cell for cell in cells if cell.method != PLAIN]
    return {cell: plain[cell.model, cell.level] for cell in others if (cell.model, cell.level) in plain}
