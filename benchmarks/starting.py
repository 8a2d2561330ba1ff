"""What it costs to start: the public interface, the checks of a study, a dry run."""

from __future__ import annotations

import sys

from timing import command, interleaved, medians, table


def rows() -> list[str]:
    python = sys.executable
    times = interleaved(
        **{
            "python -c pass": command(python, "-c", "pass"),
            "import palimpsest": command(python, "-c", "import palimpsest"),
            "check config.yaml": command(python, "-m", "palimpsest.settings", "config.yaml"),
            "dry run of the embedded study": command(python, "-m", "snakemake", "--cores", "1", "-n", "--quiet", "all"),
        }
    )
    found = [[name, f"{median:.2f}", f"{min(times[name]):.2f}", f"{max(times[name]):.2f}"]
             for name, median in medians(times).items()]  # fmt: skip
    return table("command | median s | min | max", found)
