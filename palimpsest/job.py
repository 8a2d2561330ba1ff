"""What every script has in common: a clock, one thread, and errors that a person can read.

    from palimpsest import job

    def main(args): ...

    if __name__ == "__main__":
        job.run(main, parser())

A job's times (CPU seconds in all, CPU seconds spent on starting Python and importing, peak memory) go to the
file named by `--times`; the report sums them by stage.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Results depend on the number of threads; every job has one, so that `--cores` changes nothing. Set before torch loads.
THREADS = os.environ.get("PALIMPSEST_THREADS", "1")
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = THREADS
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

FULL = (os.strerror(errno.ENOSPC), "disk is full")
_starting = time.process_time()


class ImportClock:
    """CPU seconds inside outermost `import` statements: what a job pays before it can work."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._import = builtins.__import__

    def __call__(self, *args, **kwargs):
        if self._depth:
            return self._import(*args, **kwargs)
        self._depth += 1
        started = time.process_time()
        try:
            return self._import(*args, **kwargs)
        finally:
            self._depth -= 1
            self.seconds += time.process_time() - started


def add_study(parser: argparse.ArgumentParser) -> None:
    """The arguments of a job that looks at a whole study."""
    parser.add_argument("--study", required=True, metavar="YAML", help="the study file, which says what there must be")
    parser.add_argument("--results", required=True, metavar="FOLDER", help="the study's folder, e.g. results/embedded")


def add_probes(parser: argparse.ArgumentParser) -> None:
    """The arguments of a job that stores what probes read."""
    parser.add_argument("--probes", nargs="*", default=[], metavar="FOLDER", help="the rows of each probe")
    parser.add_argument("--probing", type=json.loads, default={}, metavar="JSON", help="what the study says of each")


def probes(args: argparse.Namespace) -> dict:
    """The folder of each probe's rows -> what the study says of it (settings.Probe)."""
    from palimpsest.settings import Probe

    return {folder: Probe.model_validate(args.probing.get(Path(folder).name, {})) for folder in args.probes}


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, call `main`, write the times; a `PalimpsestError` prints as one message, exit code 1."""
    parser.add_argument("--times", metavar="JSON", help="where to write this job's CPU seconds and peak memory")
    args = parser.parse_args()
    clock = ImportClock()
    builtins.__import__ = clock
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files are removed
    wall = time.monotonic()

    from palimpsest.provenance import PalimpsestError, write_json

    try:
        main(args)
        if args.times:
            write_json(
                args.times,
                {
                    "cpu_seconds": round(time.process_time(), 3),
                    "import_cpu_seconds": round(_starting + clock.seconds, 3),
                    "wall_seconds": round(time.monotonic() - wall, 3),
                    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                },
            )
    except PalimpsestError as error:
        sys.exit(f"{parser.prog}: {error}")
    except Exception as error:
        # Libraries that write by themselves (safetensors, Arrow) wrap the system's error in one of their own.
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and not any(
            text in str(error) for text in FULL
        ):
            raise
        where = f" while writing {error.filename}" if getattr(error, "filename", None) else ""
        sys.exit(
            f"{parser.prog}: the disk is full{where}. Nothing half-written was kept: free some space and run "
            "the study again."
        )
    except KeyboardInterrupt:
        sys.exit(130)
