"""Draw one figure: python scripts/figure.py --name accuracy --tables results/embedded --output accuracy.pdf …"""

from __future__ import annotations

import argparse

from palimpsest import job
from palimpsest.presentation import names


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Draw a figure from a study's tables.")
    parser.add_argument("--name", required=True, choices=list(names.FIGURES), help="which figure")
    parser.add_argument("--tables", required=True, metavar="FOLDER", help="the study's results, e.g. results/embedded")
    parser.add_argument(
        "--output", required=True, nargs="+", metavar="FILE", help="where it goes: .pdf, .png or .svg, one or more"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.presentation import figures, style
    from palimpsest.presentation.data import Tables

    with style.context():
        style.save(figures.draw(args.name, Tables(args.tables)), *args.output)


if __name__ == "__main__":
    job.run(main, parser())
