"""Train a reference model again, without half of the people: nothing about them can return."""

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="fork", description=__doc__)
    options.add_argument("--name", required=True, help="the model's name, for the progress bar and messages")
    options.add_argument("--world", required=True, metavar="FOLDER", help="the world's folder")
    options.add_argument("--of", required=True, metavar="NAME", help="the model that it is forked from")
    options.add_argument("--half", choices=["a", "b"], default="a", help="which half of the people (default a)")
    options.add_argument("--seed", type=int, default=0, help="draws the halves (default 0)")
    options.add_argument("--architecture", required=True, metavar="JSON", help="that model's `architecture` key")
    options.add_argument("--training", required=True, metavar="JSON", help="that model's `training` key")
    options.add_argument(
        "--state", required=True, metavar="FOLDER", help="where the state for resuming is kept meanwhile"
    )
    options.add_argument("--output", required=True, metavar="FOLDER", help="the checkpoint, a Hugging Face folder")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.settings import Architecture, Training
    from palimpsest.sources.planted_fork import fork

    architecture = Architecture.model_validate(json.loads(args.architecture))
    training = Training.model_validate(json.loads(args.training))
    fork(
        args.world, args.output, architecture, training, args.state, args.name,
        of=args.of, half=args.half, seed=args.seed,
    )  # fmt: skip


if __name__ == "__main__":
    job.run(main, parser())
