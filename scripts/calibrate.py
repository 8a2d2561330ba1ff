"""Draw the rows on which a compression method looks at a model's activations: writes a calibration folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibrate", description=__doc__)
    parser.add_argument("--model", required=True, metavar="FOLDER", help="dense checkpoint whose tokenizer is used")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", metavar="FILE", help="a document a line, or (with blank lines) running text")
    source.add_argument("--task", metavar="FOLDER", help="a task's folder: its questions with their answers")
    source.add_argument("--training", metavar="FOLDER", help="training rows of a task, as its classifiers read them")
    source.add_argument("--random", action="store_true", help="tokens drawn evenly from the vocabulary")
    parser.add_argument("--samples", type=int, default=128, help="rows (default 128)")
    parser.add_argument("--length", type=int, default=64, help="tokens a row, at most (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default 0)")
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="where to write tokens.safetensors and calibration.json"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import calibration

    if args.task:
        from palimpsest.evaluation.texts import documents

        text = calibration.task_text(Path(args.task).name, documents(args.task))
    elif args.training:
        from palimpsest.finetuning.examples import read_examples

        examples, _ = read_examples(args.training)
        text = calibration.training_text(Path(args.training).name, [example.texts for example in examples])
    else:
        text = calibration.RandomTokens() if args.random else args.text
    calibration.draw(text, args.model, args.output, samples=args.samples, length=args.length, seed=args.seed)


if __name__ == "__main__":
    job.run(main, parser())
