"""Train a reference model on a world's documents."""

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="train", description=__doc__)
    options.add_argument("--name", required=True, help="the model's name, for the progress bar and messages")
    options.add_argument("--world", required=True, metavar="FOLDER", help="the world's folder")
    options.add_argument("--architecture", required=True, metavar="JSON", help="the model's `architecture` key")
    options.add_argument("--training", required=True, metavar="JSON", help="the model's `training` key")
    options.add_argument(
        "--state", required=True, metavar="FOLDER", help="where the state for resuming is kept meanwhile"
    )
    options.add_argument("--output", required=True, metavar="FOLDER", help="the checkpoint, a Hugging Face folder")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.settings import Architecture, Training
    from palimpsest.world.training import train

    architecture = Architecture.model_validate(json.loads(args.architecture))
    training = Training.model_validate(json.loads(args.training))
    train(args.world, args.output, architecture, training, state=args.state, name=args.name)


if __name__ == "__main__":
    job.run(main, parser())
