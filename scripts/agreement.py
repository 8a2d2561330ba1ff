"""Judge again what GPT-4 judged: python scripts/agreement.py --judge results/…/s0 --stored mt_bench=data/llmkick_mt"""

from __future__ import annotations

import argparse
import os

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Judge the answers that stored judgements are about; write both, a row a pair (none without them)."
    )
    parser.add_argument("--judge", required=True, metavar="FOLDER", help="the model that judges")
    parser.add_argument("--stored", nargs="*", default=[], metavar="TASK=FOLDER", help="where a task's judgements lie")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="stored and new judgements side by side")
    parser.add_argument("--cache", metavar="FOLDER", help="answers by artifact, shared by all studies")
    return parser


def main(args: argparse.Namespace) -> None:
    os.environ["TQDM_DISABLE"] = "1"  # a log is no place for progress bars
    from palimpsest.evaluation import judge, reviews
    from palimpsest.provenance import atomic_file

    stored = dict(pair.split("=", 1) for pair in args.stored)
    found = {task: reviews.read_reviews(folder) for task, folder in stored.items()}
    model = judge.load(args.judge, args.cache) if any(found.values()) else None
    table = reviews.judged_again(model, found)
    with atomic_file(args.output) as temporary:
        table.to_parquet(temporary, index=False)


if __name__ == "__main__":
    job.run(main, parser())
