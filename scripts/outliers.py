"""Derive a checkpoint that computes the same with outlier channels: writes a model folder."""

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="outliers", description=__doc__)
    options.add_argument("--model", required=True, metavar="FOLDER", help="the dense checkpoint")
    options.add_argument("--of", required=True, metavar="NAME", help="the study's name of that model")
    options.add_argument("--channels", type=int, default=4, help="outlier channels (default 4)")
    options.add_argument("--scale", type=float, default=30.0, help="how many times larger they are (default 30)")
    options.add_argument("--seed", type=int, default=0, help="draws the channels (default 0)")
    options.add_argument("--output", required=True, metavar="FOLDER", help="the checkpoint, a Hugging Face folder")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.sources.outliers import add_outliers

    add_outliers(args.model, args.output, of=args.of, channels=args.channels, scale=args.scale, seed=args.seed)


if __name__ == "__main__":
    job.run(main, parser())
