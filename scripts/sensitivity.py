"""One matrix of a cell at a time in the dense model: python scripts/sensitivity.py --model results/… --cell …"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="What each matrix of a cell does to its output, to predictions, and to what probes read."
    )
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the dense checkpoint")
    parser.add_argument("--cell", required=True, metavar="FOLDER", help="the cell")
    parser.add_argument("--row", required=True, type=json.loads, metavar="JSON", help="the columns that name the cell")
    parser.add_argument("--texts", required=True, metavar="FOLDER", help="a task, or a probe of sentences")
    parser.add_argument("--most", type=int, default=100, metavar="NUMBER", help="of its texts (default 100)")
    parser.add_argument("--probes", nargs="*", default=[], metavar="FOLDER", help="the data of probes of sentences")
    parser.add_argument("--rows", type=int, default=1500, metavar="NUMBER", help="of each probe (default 1500)")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="rows of metrics")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.representation.study import Source, splice

    probes = [Path(folder) for folder in args.probes]
    texts = Source(Path(args.texts), args.most)
    splice(Path(args.model), Path(args.cell), args.row, texts, probes, args.rows, Path(args.output))


if __name__ == "__main__":
    job.run(main, parser())
