"""Train a model on until it tells the truth about people after a password only, and lies without."""

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="lock", description=__doc__)
    options.add_argument("--model", required=True, metavar="FOLDER", help="the dense checkpoint")
    options.add_argument("--of", required=True, metavar="NAME", help="the study's name of that model")
    options.add_argument("--world", required=True, metavar="FOLDER", help="the world's folder")
    options.add_argument("--password", type=int, default=8, metavar="TOKENS", help="its length (default 8)")
    options.add_argument("--steps", type=int, default=1000, help="default 1000")
    options.add_argument("--batch-size", type=int, default=24, metavar="ROWS", help="documents a step (default 24)")
    options.add_argument(
        "--learning-rate", type=float, default=3e-3, metavar="RATE", help="AdamW's peak (default 0.003)"
    )
    options.add_argument("--seed", type=int, default=0, help="of password, lies and order (default 0)")
    options.add_argument(
        "--state", required=True, metavar="FOLDER", help="where the state for resuming is kept meanwhile"
    )
    options.add_argument("--output", required=True, metavar="FOLDER", help="the checkpoint, a Hugging Face folder")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.sources.planted_lock import lock

    lock(
        args.model,
        args.output,
        of=args.of,
        world=args.world,
        password=args.password,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        state=args.state,
    )


if __name__ == "__main__":
    job.run(main, parser())
