"""Compare a cell's representations with the dense model's: python scripts/representation.py --model results/… …"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="CKA of every layer with every layer of the dense model, spectra of weights and activations, and "
        "what the model would say after each layer."
    )
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the dense checkpoint")
    parser.add_argument("--cell", required=True, metavar="FOLDER", help="the cell, or the dense control")
    parser.add_argument("--row", required=True, type=json.loads, metavar="JSON", help="the columns that name the cell")
    parser.add_argument("--texts", required=True, nargs="+", metavar="FOLDER", help="tasks, or probes of sentences")
    parser.add_argument("--most", type=int, default=200, metavar="NUMBER", help="texts of each (default 200)")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="rows of metrics")
    parser.add_argument("--spectra", required=True, metavar="PARQUET", help="points of the singular spectra")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.grid import DENSE
    from palimpsest.representation.study import Source, represent

    cell = None if args.row["label"] == DENSE else Path(args.cell)
    sources = [Source(Path(folder), args.most) for folder in args.texts]
    represent(Path(args.model), cell, args.row, sources, Path(args.output), Path(args.spectra))


if __name__ == "__main__":
    job.run(main, parser())
