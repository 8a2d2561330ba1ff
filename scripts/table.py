"""Make tables: python scripts/table.py --name cells flips --tables results/embedded --output results/embedded/tables"""

from __future__ import annotations

import argparse

from palimpsest import job
from palimpsest.presentation import names


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write each table as a booktabs .tex and a .csv file. A missing cell is an error that names it.",
        fromfile_prefix_chars="@",
    )
    parser.add_argument("--name", required=True, nargs="+", choices=list(names.TABLES), metavar="TABLE",
                        help=f"which tables: {', '.join(names.TABLES)}")  # fmt: skip
    parser.add_argument("--tables", required=True, metavar="FOLDER", help="the study's results, e.g. results/embedded")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where <name>.tex and <name>.csv go")
    parser.add_argument("--expect", nargs="*", default=[], metavar="CELL",
                        help="cells that must be there, as atlas/gptq/4/s0 (or @file with one a line)")  # fmt: skip
    return parser


def main(args: argparse.Namespace) -> None:
    from pathlib import Path

    from palimpsest.presentation import tables
    from palimpsest.presentation.data import Tables
    from palimpsest.presentation.tables.latex import write

    study = Tables(args.tables)
    study.expect(args.expect)
    for name, table in [(name, tables.make(name, study)) for name in args.name]:
        write(table, Path(args.output) / f"{name}.tex", Path(args.output) / f"{name}.csv")


if __name__ == "__main__":
    job.run(main, parser())
