"""Take a checkpoint from a local folder into the study, with the digest of each of its files."""

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="import_model", description=__doc__)
    options.add_argument(
        "--folder", required=True, help="a Hugging Face folder: config.json, *.safetensors, tokenizer files"
    )
    options.add_argument("--output", required=True, metavar="FOLDER", help="the study's copy")
    return options


def main(args: argparse.Namespace) -> None:
    from palimpsest.sources.folder import import_folder

    import_folder(args.folder, args.output)


if __name__ == "__main__":
    job.run(main, parser())
