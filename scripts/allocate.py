"""Share the level that is asked of a model out among its matrices: writes an allocation folder."""

from __future__ import annotations

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="allocate", description=__doc__)
    parser.add_argument(
        "--model", required=True, metavar="FOLDER", help="dense checkpoint: a Hugging Face folder with safetensors"
    )
    parser.add_argument("--method", required=True, help="the allocation, e.g. owl, sensitivity, error")
    parser.add_argument("--level", required=True, help="that of the whole model, e.g. 0.5, 2:4, 4g128, k0.8")
    parser.add_argument("--name", help="the study's name for the allocation with its options (default: the method)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a search that draws random numbers (default 0)")
    parser.add_argument(
        "--options", type=json.loads, default={}, metavar="JSON", help='e.g. \'{"modules": ["q_proj"]}\''
    )
    parser.add_argument(
        "--calibration",
        metavar="FOLDER",
        help="calibration rows; needed by allocations that look at the model's answers",
    )
    parser.add_argument(
        "--measured-with",
        metavar="METHOD",
        help="compression method by which matrices are measured (default: wanda, rtn or svd-llm, by the level)",
    )
    parser.add_argument("--state", metavar="FOLDER", help="where a killed search leaves what it has computed")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where to write allocation.json")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.compression.allocation.allocate import allocate

    allocate(
        args.model,
        args.output,
        method=args.method,
        level=args.level,
        name=args.name,
        seed=args.seed,
        options=args.options,
        calibration_folder=args.calibration,
        measured_with=args.measured_with,
        state_folder=args.state,
    )


if __name__ == "__main__":
    job.run(main, parser())
