"""Compare all recoveries with their cells and dense models: python scripts/similarity.py --study config.yaml …"""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="How near a recovery's attention and activations come to those of the dense model and of its cell."
    )
    job.add_study(parser)
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the table")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import settings
    from palimpsest.grid import Grid
    from palimpsest.similarity.study import compare

    study = settings.read(args.study)
    compare(Path(args.results), Grid(study), **study.similarity.model_dump(), output=Path(args.output))


if __name__ == "__main__":
    job.run(main, parser())
