"""Write a cell as a folder that others read: plain Hugging Face, or packed integers as compressed-tensors."""

from __future__ import annotations

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="export", description=__doc__)
    parser.add_argument("--cell", required=True, metavar="FOLDER", help="the compressed cell, e.g. results/…/4/s0")
    parser.add_argument(
        "--format", choices=("huggingface", "compressed-tensors"), default="huggingface", help="default: huggingface"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the new folder")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.export import export

    export(args.cell, args.output, args.format)


if __name__ == "__main__":
    job.run(main, parser())
