"""The figures: one module each with `TITLE` and `draw(tables, width) -> Figure`. Names are in presentation/names.py."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from matplotlib.figure import Figure

from palimpsest.presentation import names, style
from palimpsest.presentation.data import Tables


def module(name: str) -> ModuleType:
    """The figure's module; raises PalimpsestError for a name that no figure has."""
    names.check_figure(name)
    return import_module(f"palimpsest.presentation.figures.{name}")


def draw(name: str, tables: Tables, width: float = style.WIDE) -> Figure:
    """Draw a figure. Call and save inside `style.context()`."""
    return module(name).draw(tables, width)
