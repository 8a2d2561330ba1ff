"""A copy of this checkout in which the tiny study runs, as in a fresh clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Checkout:
    """A folder with the project's files and nothing it has made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        for name in filter(None, listed):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments]

    def environment(self, **changes: str) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if key not in ("PALIMPSEST_DATA", "PYTHONPATH")}
        return environment | changes

    def run(self, *arguments: str, cores: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
        """`snakemake --cores 2 <arguments>`; output and errors together in `.stdout`."""
        return subprocess.run(
            self.command(*arguments, cores=cores), cwd=self.folder, env=self.environment(**environment),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rule -> jobs that a run would start."""
        done = self.run("--dry-run", "--quiet", "rules", *arguments)
        assert done.returncode == 0, done.stdout
        jobs = {}
        for line in done.stdout.split("Reasons:")[0].splitlines():
            words = line.split()
            if len(words) == 2 and words[1].isdecimal() and words[0] not in ("total", "all"):
                jobs[words[0]] = int(words[1])
        return jobs
