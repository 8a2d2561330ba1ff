"""The tables: one function each, from a study's tables to rows; LaTeX and CSV come from the same rows."""

from __future__ import annotations

from importlib import import_module

from palimpsest.presentation import names
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import Table


def make(name: str, tables: Tables) -> Table:
    """The rows of a table; raises PalimpsestError where a cell is missing, and for a name that no table has."""
    names.check_table(name)
    return import_module(f"palimpsest.presentation.tables.{name}").rows(tables)


def title(name: str) -> str:
    """What a table is called on a page."""
    names.check_table(name)
    return import_module(f"palimpsest.presentation.tables.{name}").TITLE
