"""Bits of knowledge against bytes: what a compressed large model and a small dense one hold at the same size."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from palimpsest.grid import Cell
from palimpsest.presentation import labels, quantities, style
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.level_names import level_title

TITLE = "Bits of knowledge against bytes on disk"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A point a cell, dense models as stars; x: bytes of the artifact with the dense tensors that it refers to."""
    bits, size = tables.numbers(quantities.BITS), tables.measured("bytes_total")
    unit, factor = ("thousand bits", 1e-3) if max(number.value for number in bits.values()) >= 1000 else ("bits", 1.0)
    figure = style.new_figure(width, 0.55 * width if width > 5 else 1.05 * width)
    panel = figure.subplots()
    handles: dict[str, object] = {}
    points, named = [], []
    cells = list(bits)
    several = len({cell.model for cell in cells if not cell.is_dense}) > 1
    many = len(cells) > labels.MOST
    frontier = _frontier(cells, bits, size)
    for cell in cells:
        number, x, look = bits[cell].times(factor), size[cell].value / 1e6, tables.looks[cell.label]
        below, above = number.errors
        marker = {"markersize": 9} if cell.is_dense else {}
        point = panel.errorbar(x, number.value, [[below], [above]], linestyle="none", **look.points | marker)
        handles.setdefault(cell.label, point)
        points.append((x, number.value))
        if many and not cell.is_dense and cell not in frontier:
            continue
        words = cell.model if cell.is_dense else level_title(cell.level, words=False)
        words = f"{cell.label} {words}" if many and not cell.is_dense else words
        named.append((x, number.value, f"{cell.model} {words}" if several and not cell.is_dense else words))
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("size on disk (MB, logarithmic)")
    panel.set_ylabel(f"knowledge ({unit})")
    panel.margins(x=0.08, y=0.1)
    panel.set_ylim(min(0, panel.get_ylim()[0]), None)
    order = [label for label in tables.labels if label in handles]
    style.legend(figure, [handles[label] for label in order], order)
    bars = [
        (x, factor * bits[cell].low, x, factor * bits[cell].high) for cell, (x, _) in zip(cells, points, strict=True)
    ]
    labels.place(panel, named, points, bars)
    return figure


def _frontier(cells: list[Cell], bits: dict[Cell, Number], size: dict[Cell, Number]) -> list[Cell]:
    """The cells that know more than every cell that is no larger."""
    best, found = float("-inf"), []
    for cell in sorted(cells, key=lambda cell: (size[cell].value, -bits[cell].value, cell.id)):
        if bits[cell].value > best:
            best = bits[cell].value
            found.append(cell)
    return found
