"""What probes read of random weights: python scripts/floor.py --model results/…/models/atlas --probes …"""

from __future__ import annotations

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Store the states of a model's twin whose weights were never trained.")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the dense checkpoint")
    job.add_probes(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default 0)")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the features")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import loading
    from palimpsest.probing.features import write_features
    from palimpsest.provenance import digest_json, folder_digest

    model, tokenizer = loading.random_twin(args.model, args.seed)
    digest = digest_json(["random", args.seed, folder_digest(args.model)])
    write_features(model, tokenizer, job.probes(args), args.output, model_digest=digest)


if __name__ == "__main__":
    job.run(main, parser())
