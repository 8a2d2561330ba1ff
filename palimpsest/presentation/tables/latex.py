"""booktabs tables and CSV files from the same rows."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from palimpsest.presentation.data import Number, Tables
from palimpsest.provenance import atomic_file

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "≥": r"$\geq$", "≤": r"$\leq$", "−": r"$-$", "±": r"$\pm$", "×": r"$\times$", "→": r"$\rightarrow$", "–": r"--",
    "—": r"---", "…": r"\ldots{}", "\u2009": r"\,", "\u00a0": r"~", "Σ": r"$\Sigma$", "δ": r"$\delta$",
    "ρ": r"$\rho$", "κ": r"$\kappa$", "‖": r"$\|$", "·": r"$\cdot$", "’": r"'", "“": r"``", "”": r"''",
}  # fmt: skip


@dataclass
class Column:
    """A column: its heading, its unit or a second line, how many decimals, and how a number is scaled for print."""

    key: str
    title: str
    unit: str = ""
    decimals: int = 1
    factor: float = 1.0
    right: bool = True
    wide: float = 0.0  # width in the text's widths, for a column of sentences


@dataclass
class Table:
    """Rows of cells that are text, plain numbers or Numbers with intervals; a rule goes before the rows in `breaks`."""

    columns: list[Column]
    rows: list[dict[str, object]] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    bold: set[int] = field(default_factory=set)

    def add(self, row: dict[str, object], new_block: bool = False, bold: bool = False) -> None:
        if new_block and self.rows:
            self.breaks.add(len(self.rows))
        if bold:
            self.bold.add(len(self.rows))
        self.rows.append(row)


def cell_columns(tables: Tables) -> list[Column]:
    """The columns that name a cell: model, label, level, and seed in a study that has several."""
    several = any(cell.seed for cell in tables.cells)
    named = [Column(name, name, right=False) for name in ("model", "label", "level")]
    return [*named, Column("seed", "seed", decimals=0)] if several else named


def escape(text: object) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in str(text))


def spoken(value: object, column: Column) -> str:
    """A cell as it is printed, before LaTeX or HTML: numbers with the column's decimals, a dash where there is none."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, Number):
        value = value.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value * column.factor:,.{column.decimals}f}".replace(",", "\u2009").replace("-", "−")


def interval(value: object, column: Column) -> str:
    """`[low, high]` as it is printed, or nothing."""
    if not isinstance(value, Number) or value.low != value.low:
        return ""
    low, high = (
        f"{end * column.factor:,.{column.decimals}f}".replace(",", "\u2009").replace("-", "−")
        for end in (value.low, value.high)
    )
    return f"[{low}, {high}]"


def latex(table: Table) -> str:
    """A booktabs tabular (packages booktabs and array).

    Intervals stand small under their numbers, or beside them where cells are sentences.
    """
    inline = any(column.wide for column in table.columns)
    wide = r">{\raggedright\arraybackslash}p"
    spec = "".join(
        f"{wide}{{{column.wide}\\linewidth}}" if column.wide else "r" if column.right else "l"
        for column in table.columns
    )
    heads = [" & ".join(escape(column.title) for column in table.columns) + r" \\"]
    if any(column.unit for column in table.columns):
        heads.append(
            " & ".join(rf"{{\scriptsize {escape(column.unit)}}}" if column.unit else "" for column in table.columns)
            + r" \\"
        )
    lines = [rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}", r"\toprule", *heads, r"\midrule"]
    for index, row in enumerate(table.rows):
        if index in table.breaks:
            lines.append(r"\addlinespace")
        cells = [escape(spoken(row.get(column.key), column)) for column in table.columns]
        ranges = [escape(interval(row.get(column.key), column)) for column in table.columns]
        if inline:
            cells = [f"{cell} {{\\tiny {ends}}}" if ends else cell for cell, ends in zip(cells, ranges, strict=True)]
        if index in table.bold:
            cells = [rf"\textbf{{{cell}}}" if cell else cell for cell in cells]
        lines.append(" & ".join(cells) + r" \\")
        if any(ranges) and not inline:
            lines.append(" & ".join(rf"{{\tiny {text}}}" if text else "" for text in ranges) + r" \\[0.2ex]")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def as_csv(table: Table) -> str:
    """The same rows unrounded; a number with an interval takes three columns: x, x_low, x_high."""
    with_interval = [
        column.key for column in table.columns if any(isinstance(row.get(column.key), Number) for row in table.rows)
    ]
    heading = []
    for column in table.columns:
        heading += (
            [column.key, f"{column.key}_low", f"{column.key}_high"] if column.key in with_interval else [column.key]
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heading)
    for row in table.rows:
        line: list[object] = []
        for column in table.columns:
            value = row.get(column.key)
            parts = (value.value, value.low, value.high) if isinstance(value, Number) else (value, None, None)
            line += [_plain(part) for part in (parts if column.key in with_interval else parts[:1])]
        writer.writerow(line)
    return out.getvalue()


def _plain(value: object) -> object:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return re.sub(r"\.0$", "", f"{value:.10g}") if isinstance(value, float) else value


def write(table: Table, tex: str | Path, csv_file: str | Path) -> None:
    """Both files, atomically."""
    for path, text in ((tex, latex(table)), (csv_file, as_csv(table))):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
