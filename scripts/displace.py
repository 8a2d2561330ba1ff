"""Reflect the outputs of some layers of a model: damage that is displacement and nothing else."""

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="displace", description=__doc__)
    options.add_argument("--model", required=True, metavar="FOLDER", help="the dense checkpoint")
    options.add_argument("--of", required=True, metavar="NAME", help="the study's name of that model")
    options.add_argument(
        "--modules", nargs="+", default=["q_proj", "v_proj"], metavar="NAME", help="default q_proj v_proj"
    )
    options.add_argument("--reflections", type=int, default=4, help="of each layer's outputs (default 4)")
    options.add_argument("--blocks", type=int, nargs="*", metavar="BLOCK", help="only in these blocks (default: all)")
    options.add_argument("--output", required=True, metavar="FOLDER", help="the checkpoint, a Hugging Face folder")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.sources.planted_displacement import displace

    displace(
        args.model,
        args.output,
        of=args.of,
        modules=args.modules,
        reflections=args.reflections,
        blocks=args.blocks or None,
    )


if __name__ == "__main__":
    job.run(main, parser())
