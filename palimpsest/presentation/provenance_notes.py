"""How a study's pages were made: versions of the software, and digests of the tables they were made from."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from platform import python_version

import palimpsest
from palimpsest.presentation.data import Tables
from palimpsest.provenance import digest_file

PACKAGES = ("torch", "transformers", "peft", "lm-eval", "safetensors", "numpy", "pandas", "matplotlib", "snakemake")
# measurements.parquet and latency.parquet differ between runs, so they are no part of this list.
FILES = ("metrics.parquet", "answers.parquet", "probes.parquet", "similarity.parquet", "claims.json", "facts.parquet")


def versions() -> list[tuple[str, str]]:
    """(package, version) of what computed the numbers."""
    found = [("palimpsest", palimpsest.__version__), ("Python", python_version())]
    for package in PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found


def digests(tables: Tables) -> list[tuple[str, str]]:
    """(file, SHA-256) of the tables that every number on the page comes from."""
    return [(name, digest_file(tables.folder / name)) for name in FILES if (tables.folder / name).exists()]
