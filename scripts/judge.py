"""Judge a variant's free texts: python scripts/judge.py --judge results/…/s0 --answers …/answers.parquet --tasks …"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Let a local model judge a variant's answers, against the dense model's and by themselves."
    )
    parser.add_argument("--judge", required=True, metavar="FOLDER", help="the model that judges")
    parser.add_argument("--answers", required=True, metavar="PARQUET", help="the variant's answers")
    parser.add_argument("--dense", metavar="PARQUET", help="the dense model's, unless the variant is the dense model")
    parser.add_argument("--tasks", required=True, nargs="+", metavar="FOLDER", help="the judged tasks")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the judgements")
    parser.add_argument("--cache", metavar="FOLDER", help="answers by artifact, shared by all studies")
    return parser


def main(args: argparse.Namespace) -> None:
    os.environ["TQDM_DISABLE"] = "1"  # a log is no place for progress bars
    import pandas

    from palimpsest.evaluation import answers, judge
    from palimpsest.provenance import atomic_file

    model = judge.load(args.judge, args.cache)
    ours = pandas.read_parquet(args.answers)
    dense = pandas.read_parquet(args.dense) if args.dense else None
    table = judge.judgements(model, [Path(folder) for folder in args.tasks], ours, dense)
    for place, column in enumerate(answers.IDENTITY):
        table.insert(place, column, ours[column].iloc[0])
    with atomic_file(args.output) as temporary:
        table.to_parquet(temporary, index=False)


if __name__ == "__main__":
    job.run(main, parser())
