"""The same rows as an HTML table: intervals under their numbers, verdicts marked."""

from __future__ import annotations

from html import escape

from palimpsest.presentation.tables.latex import Column, Table, interval, spoken


def web(table: Table, caption: str) -> str:
    """A <table> inside a frame of its own, which scrolls where the table is wider than the page."""
    head = "".join(_heading(column) for column in table.columns)
    body = []
    for index, row in enumerate(table.rows):
        cells = "".join(_cell(row.get(column.key), column) for column in table.columns)
        names = " ".join(["block"] * (index in table.breaks) + ["strong"] * (index in table.bold))
        body.append(f"<tr{_class(names)}>{cells}</tr>")
    label = escape(caption, quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><caption>{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _heading(column: Column) -> str:
    unit = f" <small>{escape(column.unit)}</small>" if column.unit else ""
    return f'<th scope="col"{_class("number" if column.right else "")}>{escape(column.title)}{unit}</th>'


def _cell(value: object, column: Column) -> str:
    words, ends = escape(spoken(value, column)), escape(interval(value, column))
    if column.key == "verdict":
        words = f'<span class="verdict {words}">{words}</span>'
    small = f"<small>{ends}</small>" if ends else ""
    return f"<td{_class('number' if column.right else 'prose' if column.wide else '')}>{words}{small}</td>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
