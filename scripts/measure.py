"""Measure all variants: python scripts/measure.py --study config.yaml --results results/embedded …"""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Bytes, memory and latency of every variant. Run it alone: beside another job it is slower."
    )
    job.add_study(parser)
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the table")
    parser.add_argument("--rounds", required=True, metavar="PARQUET", help="the times of every round")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import settings
    from palimpsest.grid import Grid
    from palimpsest.measurement.study import measure

    study = settings.read(args.study)
    asked = study.measurement.model_dump()
    measure(Path(args.results), Grid(study), Path(args.output), Path(args.rounds), **asked)


if __name__ == "__main__":
    job.run(main, parser())
