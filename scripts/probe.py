"""One probe on all variants: python scripts/probe.py --study config.yaml --probe tree_depth --results …"""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train classifiers on the stored features, on a control task and on random weights."
    )
    job.add_study(parser)
    parser.add_argument("--probe", required=True, help="a probe of the study")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the table")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import settings
    from palimpsest.grid import Grid
    from palimpsest.probing.study import probe

    probe(Path(args.results), Grid(settings.read(args.study)), args.probe, Path(args.output))


if __name__ == "__main__":
    job.run(main, parser())
