"""Compress one model by one method at one level: writes a cell's artifact folder."""

from __future__ import annotations

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compress", description=__doc__)
    parser.add_argument(
        "--model", required=True, metavar="FOLDER", help="dense checkpoint: a Hugging Face folder with safetensors"
    )
    parser.add_argument("--method", required=True, help="compression method, or dense for the control without any")
    parser.add_argument("--level", required=True, help='how hard, e.g. 0.5, 2:4, 4, 4g128, k0.8; "full" for dense')
    parser.add_argument("--label", help="the study's name for the method with its options (default: the method)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a method that draws random numbers (default 0)")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help="e.g. '{\"act_order\": true}'")
    parser.add_argument(
        "--calibration", metavar="FOLDER", help="calibration rows; needed by methods that look at inputs"
    )
    parser.add_argument(
        "--propagate",
        choices=("true", "false", "method"),
        default="method",
        help="whether a block is calibrated on the outputs of compressed blocks (default: what the method declares)",
    )
    parser.add_argument(
        "--allocation", metavar="FOLDER", help="levels of single matrices (scripts/allocate.py; default: all the same)"
    )
    parser.add_argument("--state", metavar="FOLDER", help="where a killed walk leaves its finished blocks")
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="where to write compression.json and weights.safetensors"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.compression.cell import compress

    compress(
        args.model,
        args.output,
        method=args.method,
        level=args.level,
        label=args.label,
        seed=args.seed,
        options=args.options,
        calibration_folder=args.calibration,
        allocation_folder=args.allocation,
        propagate={"true": True, "false": False, "method": None}[args.propagate],
        state_folder=args.state,
    )


if __name__ == "__main__":
    job.run(main, parser())
