"""The same study in several worlds: what holds for facts that were drawn and learned once may not hold for others.

A replicate is a study file of its own, with other seeds of the world (its people, facts, texts and pools) and of the
training of models and recoveries. It is run like any other study; `analysis/replicates.py` reads them side by side.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from palimpsest import settings
from palimpsest.checks import read_yaml
from palimpsest.provenance import PalimpsestError, atomic_file


def replicate(study: dict[str, Any], number: int, file: str = "study") -> dict[str, Any]:
    """The study, as read from YAML, with `number` added to the seeds; its name ends in -r<number>.

    Raises PalimpsestError where the study has no world, since nothing would be drawn anew, and on what any study is
    refused for.
    """
    settings.load(study, file)
    if not study.get("world"):
        raise PalimpsestError(f"{file}: world: replicates are other worlds, and this study has none.")
    found = copy.deepcopy(study) | {"name": f"{study['name']}-r{number}"}
    seeded = [found["world"]]
    seeded += [model.setdefault("training", {}) for model in found["models"].values() if model["source"] == "world"]
    seeded += [entry["training"] for entry in found.get("recovery", {}).values() if entry.get("training")]
    for entry in seeded:
        entry["seed"] = entry.get("seed", 0) + number
    return found


def write(study_file: Path | str, count: int, folder: Path | str) -> list[Path]:
    """Write `count` replicates of a study to `folder`, as study files; returns their paths."""
    study, files = read_yaml(study_file), []
    for number in range(count):
        found = replicate(study, number, str(study_file))
        files.append(Path(folder) / f"{found['name']}.yaml")
        with atomic_file(files[-1]) as temporary:
            text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
            temporary.write_text(f"# Replicate {number} of {study_file}.\n{text}", encoding="utf-8")
    return files
