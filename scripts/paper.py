"""Write the paper: python scripts/paper.py --tables results/embedded --output results/embedded/paper.tex …/paper.pdf"""

from __future__ import annotations

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write the study as a paper in LaTeX and, asked for a .pdf too, typeset it."
    )
    parser.add_argument("--tables", required=True, metavar="FOLDER", help="the study's results, e.g. results/embedded")
    parser.add_argument("--figures", metavar="FOLDER", help="the drawn figures (default: figures/ in the results)")
    parser.add_argument(
        "--output", required=True, nargs="+", metavar="FILE", help="paper.tex, and paper.pdf where pdflatex is there"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from pathlib import Path

    from palimpsest.presentation import paper

    source = next(Path(name) for name in args.output if name.endswith(".tex"))
    paper.write(args.tables, source)
    for target in (Path(name) for name in args.output if name.endswith(".pdf")):
        paper.typeset(source, args.figures or Path(args.tables) / "figures", target)


if __name__ == "__main__":
    job.run(main, parser())
