"""Fine-tune an encoder on a task's training rows: writes a dense classifier in Hugging Face's format."""

from __future__ import annotations

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fine_tune", description=__doc__)
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the encoder: a dense checkpoint")
    parser.add_argument("--of", help="the study's name of the encoder")
    parser.add_argument("--rows", required=True, metavar="FOLDER", help="training rows (task_data.py --training)")
    parser.add_argument(
        "--training", type=json.loads, default={}, metavar="JSON", help='e.g. \'{"steps": 300, "learning_rate": 1e-4}\''
    )
    parser.add_argument("--state", metavar="FOLDER", help="where the state for resuming is kept meanwhile")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the classifier goes")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.finetuning.train import fine_tune

    fine_tune(args.model, args.rows, args.output, of=args.of, state_folder=args.state, **args.training)


if __name__ == "__main__":
    job.run(main, parser())
