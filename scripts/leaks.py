"""Look for a study's questions in its calibration and recovery texts: writes leaks.csv, warns of what is contained."""

from __future__ import annotations

import argparse
from pathlib import Path

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="leaks", description=__doc__)
    job.add_study(parser)
    parser.add_argument("--output", required=True, metavar="CSV", help="a row a text and task")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest import settings
    from palimpsest.grid import Grid
    from palimpsest.leaks import study

    wanted = settings.read(args.study)
    study.write(Path(args.results), Grid(wanted), wanted.tasks, args.output)


if __name__ == "__main__":
    job.run(main, parser())
