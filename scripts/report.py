"""Write report.html: python scripts/report.py --tables results/embedded --output results/embedded/report.html"""

from __future__ import annotations

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write the study's answers as one self-contained HTML page.")
    parser.add_argument("--tables", required=True, metavar="FOLDER", help="the study's results, e.g. results/embedded")
    parser.add_argument("--output", required=True, metavar="HTML", help="where the page goes")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.presentation import report

    report.build(args.tables, args.output)


if __name__ == "__main__":
    job.run(main, parser())
