"""Probe all variants' hidden states: python scripts/probe.py --study config.yaml --results results/embedded …"""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train linear probes on the stored features, on a control task and on random weights."
    )
    job.add_study(parser)
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the table")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import settings
    from palimpsest.grid import Grid
    from palimpsest.probing.study import probe

    study = settings.read(args.study)
    probe(Path(args.results), Grid(study), study.probes[0], Path(args.output))


if __name__ == "__main__":
    job.run(main, parser())
