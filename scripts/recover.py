"""Train a recovery on a cell: python scripts/recover.py --cell results/…/s0 --output results/…/adapter …"""

from __future__ import annotations

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train an adapter on a frozen compressed model and write it beside the cell."
    )
    parser.add_argument("--cell", required=True, metavar="FOLDER", help="the compressed (or dense) cell")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the adapter goes")
    parser.add_argument("--method", required=True, help="lora or prompt")
    parser.add_argument(
        "--options", type=json.loads, default={}, metavar="JSON", help='e.g. \'{"rank": 4, "alpha": 8}\''
    )
    parser.add_argument("--text", required=True, nargs="+", metavar="FILE", help="training text, one document a line")
    parser.add_argument(
        "--validation", nargs="+", metavar="FILE", help="text for early stopping; without it the last step is kept"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the adapter's start and the order of the text (default 0)"
    )
    parser.add_argument("--steps", type=int, default=300, help="at most so many (default 300)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="ROWS", help="documents a step (default 16)")
    parser.add_argument(
        "--learning-rate", type=float, default=2e-3, metavar="RATE", help="AdamW's peak (default 0.002)"
    )
    parser.add_argument("--validate-every", type=int, default=50, metavar="STEPS", help="default 50")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.recovery.train import recover

    recover(
        args.cell,
        args.output,
        method=args.method,
        options=args.options,
        text=args.text,
        validation=args.validation,
        seed=args.seed,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        validate_every=args.validate_every,
    )


if __name__ == "__main__":
    job.run(main, parser())
