"""Ask a variant all questions: python scripts/evaluate.py --variant results/…/s0 --tasks results/…/tasks/* …"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Ask a variant the questions of all tasks; write a row a question.")
    parser.add_argument("--variant", required=True, metavar="FOLDER", help="the cell, or the adapter on it")
    parser.add_argument("--dense", metavar="FOLDER", help="its dense model: texts get their divergence from that one")
    parser.add_argument("--tasks", required=True, nargs="*", metavar="FOLDER", help="task folders, in order")
    job.add_probes(parser)
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the answers")
    parser.add_argument("--features", metavar="FOLDER", help="where the states that probes read go")
    parser.add_argument("--cache", metavar="FOLDER", help="answers by artifact, shared by all studies")
    parser.add_argument("--batch-size", default="auto", help='rows a batch, or "auto" (default)')
    parser.add_argument("--limit", type=int, help="only the first so many questions of each task, for a try")
    for column in ("model", "label", "method", "level", "recovery"):
        parser.add_argument(f"--{column}", required=True, help="for the table")
    parser.add_argument("--seed", type=int, required=True, help="for the table")
    return parser


def asked(args: argparse.Namespace, model, tokenizer, store):
    """The answers of a decoder."""
    from palimpsest import loading
    from palimpsest.evaluation import divergence, harness
    from palimpsest.provenance import folder_digest

    dense = None
    if args.dense:
        is_dense = args.label == "dense" and args.recovery == "none"
        load = None if is_dense else lambda: loading.load(args.dense)[0]
        dense = divergence.Reference(folder_digest(args.dense), load)
    language_model = harness.LanguageModel(model, tokenizer, args.batch_size, store, bos_once=True, dense=dense)
    return harness.ask(language_model, [Path(folder) for folder in args.tasks], args.limit)


def main(args: argparse.Namespace) -> None:
    os.environ["TQDM_DISABLE"] = "1"  # a log is no place for progress bars
    from palimpsest import loading
    from palimpsest.compression.families import is_encoder
    from palimpsest.evaluation import answers, cache, classification
    from palimpsest.provenance import atomic_file, folder_digest

    model, tokenizer = loading.load(args.variant)
    # An adapter's files name the digest of its cell, a cell's that of its checkpoint.
    digest = folder_digest(args.variant)
    store = cache.AnswerCache(Path(args.cache) / f"{digest}.sqlite") if args.cache else None
    if is_encoder(model.config.model_type):
        table = classification.ask(model, tokenizer, args.tasks, args.limit, args.batch_size, store)
    else:
        table = asked(args, model, tokenizer, store)
    for place, column in enumerate(answers.IDENTITY):
        table.insert(place, column, getattr(args, column))
    with atomic_file(args.output) as temporary:
        table.to_parquet(temporary, index=False)
    if args.features:
        from palimpsest.probing.features import write_features

        write_features(model, tokenizer, job.probes(args), args.features, model_digest=digest)


if __name__ == "__main__":
    job.run(main, parser())
