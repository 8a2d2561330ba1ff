"""Make a recovery of a cell: python scripts/recover.py --cell results/…/s0 --output results/…/adapter …"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make what is put on a compressed model, and write it beside the cell."
    )
    parser.add_argument("--cell", required=True, metavar="FOLDER", help="the compressed (or dense) cell")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the adapter goes")
    parser.add_argument("--method", required=True, help="e.g. lora")
    parser.add_argument(
        "--options", type=json.loads, default={}, metavar="JSON", help='e.g. \'{"rank": 4, "alpha": 8}\''
    )
    trained = parser.add_argument_group("a trained method")
    trained.add_argument("--text", nargs="+", default=[], metavar="PATH", help="a file, or a calibration's folder")
    trained.add_argument("--validation", nargs="+", default=[], metavar="FILE", help="text for early stopping")
    trained.add_argument(
        "--training", type=json.loads, default={}, metavar="JSON", help='e.g. \'{"steps": 300, "seed": 0}\''
    )
    trained.add_argument("--state", metavar="FOLDER", help="where the state for resuming is kept meanwhile")
    trained.add_argument("--facts", metavar="PARQUET", help="what is true of the world's people: facts.parquet")
    trained.add_argument("--unseen", default="U", metavar="POOL", help="whose facts no text may say (default U)")
    closed = parser.add_argument_group("a closed form")
    closed.add_argument("--calibration", metavar="FOLDER", help="rows whose activations it sees")
    composed = parser.add_argument_group("a composed method")
    composed.add_argument(
        "--of", nargs="+", default=[], metavar="NAME=FOLDER", help="adapters of the same cell that it is made of"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.recovery.make import recover

    recover(
        args.cell,
        args.output,
        method=args.method,
        options=args.options,
        text=args.text,
        validation=args.validation,
        training=args.training,
        calibration_folder=args.calibration,
        of={name: Path(folder) for name, _, folder in (part.partition("=") for part in args.of)},
        state_folder=args.state,
        facts_file=args.facts,
        unseen=args.unseen,
    )


if __name__ == "__main__":
    job.run(main, parser())
