"""The rows of a probe: an artifact folder with `rows.jsonl` and the probe's definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from palimpsest.probing import definition
from palimpsest.provenance import atomic_folder, verify_folder


def write_probe(
    probe: str,
    output_folder: str | Path,
    world: str | Path | None = None,
    root: str | Path | None = None,
    rows: int = 2000,
) -> None:
    """Write the rows of a probe, `rows` of them at most."""
    wanted = definition.probes()[probe]
    lines = (Path(world) / "tasks" / f"{probe}.jsonl").read_text(encoding="utf-8")
    with atomic_folder(output_folder) as folder:
        (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
        (folder / f"{probe}.yaml").write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")


def read_probe(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Definition and rows, checked against their digests."""
    folder = Path(folder)
    verify_folder(folder)
    said = yaml.safe_load((folder / f"{folder.name}.yaml").read_text(encoding="utf-8"))
    return said, [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
