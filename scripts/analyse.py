"""Answers to metrics and verdicts: python scripts/analyse.py --study config.yaml --results results/embedded"""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write a study's answers.parquet, metrics.parquet and claims.json; a missing answer is an error."
    )
    job.add_study(parser)
    parser.add_argument("--claims", default="reports/claims.yaml", metavar="YAML", help="default reports/claims.yaml")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import settings
    from palimpsest.analysis.study import analyse
    from palimpsest.grid import Grid

    study = settings.read(args.study)
    grid = Grid(study)
    more = [name for name in ("similarity",) if getattr(study, name)]
    more += [f"representation/{cell.id}" for cell in grid.represented()]
    more += [f"sensitivity/{cell.id}" for cell in grid.spliced()]
    analyse(Path(args.results), grid, args.claims, more)


if __name__ == "__main__":
    job.run(main, parser())
