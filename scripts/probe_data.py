"""Write the rows of one probe: python scripts/probe_data.py --probe tree_depth --output results/…/probes/tree_depth"""

from __future__ import annotations

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write a probe's rows, every row checked.")
    parser.add_argument("--probe", required=True, help="a file of palimpsest/probing/tasks")
    parser.add_argument("--world", metavar="FOLDER", help="the generated world, for probes that come from it")
    parser.add_argument("--rows", type=int, default=2000, metavar="N", help="at most so many (default 2000)")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where rows.jsonl and the definition go")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.probing.data import write_probe

    write_probe(args.probe, args.output, world=args.world, rows=args.rows)


if __name__ == "__main__":
    job.run(main, parser())
