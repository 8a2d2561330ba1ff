"""Generate a world: people, facts, texts, training documents and tasks."""

import argparse
import json

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="world", description=__doc__)
    options.add_argument("--settings", required=True, metavar="JSON", help="the study's `world` key")
    options.add_argument("--output", required=True, metavar="FOLDER", help="the world's folder")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.settings import World
    from palimpsest.world.build import build

    build(World.model_validate(json.loads(args.settings)), args.output)


if __name__ == "__main__":
    job.run(main, parser())
