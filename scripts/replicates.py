"""Several worlds of one study: write their study files, or read their results side by side.

python scripts/replicates.py write studies/atlas.yaml --count 5 --output results/replicates
python scripts/replicates.py pool results/atlas-r0 results/atlas-r1 … --output results/atlas-replicates
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from palimpsest.provenance import PalimpsestError


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Several worlds of one study.")
    tasks = parser.add_subparsers(dest="task", required=True)
    write = tasks.add_parser("write", help="write the study files of the replicates, and print their names")
    write.add_argument("study", metavar="FILE")
    write.add_argument("--count", type=int, default=5, metavar="N", help="so many (default 5)")
    write.add_argument("--output", required=True, metavar="FOLDER", help="where the files go")
    pool = tasks.add_parser("pool", help="means over the replicates, with intervals")
    pool.add_argument("results", nargs="+", type=Path, metavar="FOLDER", help="results/<name>-r0, results/<name>-r1, …")
    pool.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="for metrics.parquet and the figure")
    return parser


def main(args: argparse.Namespace) -> None:
    if args.task == "write":
        from palimpsest.replicates import write

        print(*write(args.study, args.count, args.output), sep="\n")
        return
    from palimpsest.analysis import replicates
    from palimpsest.presentation import replicates as figure
    from palimpsest.presentation import style
    from palimpsest.provenance import atomic_file

    metrics = replicates.read(args.results)
    pooled = replicates.pooled(metrics)
    with atomic_file(args.output / "metrics.parquet") as temporary:
        pooled.to_parquet(temporary, index=False)
    pooled.to_csv(args.output / "metrics.csv", index=False)
    with style.context():
        style.save(figure.draw(metrics, pooled), args.output / "replicates.pdf", args.output / "replicates.png")
    print(args.output / "replicates.pdf")


if __name__ == "__main__":
    try:
        main(parser().parse_args())
    except PalimpsestError as error:
        sys.exit(f"replicates: {error}")
