"""Where the time went: CPU seconds by stage, and how much of them was starting Python and importing."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from palimpsest.presentation import style
from palimpsest.presentation.data import Tables
from palimpsest.provenance import PalimpsestError

TITLE = "Where the time went"
WORK, IMPORTS = "#6f8faf", "#d9a441"


def draw(tables: Tables, width: float = style.WIDE) -> Figure:
    """A bar a stage, imports hatched at its foot; the numbers at its end."""
    if not tables.times:
        raise PalimpsestError(
            f"{tables.folder / 'times'}: no job has written its times; run the study with make study."
        )
    stages = tables.times[:-1]
    figure = style.new_figure(width, 0.75 + 0.24 * len(stages))
    panel = figure.subplots()
    rows = range(len(stages))
    imports = [stage.import_cpu_seconds for stage in stages]
    work = [stage.cpu_seconds - stage.import_cpu_seconds for stage in stages]
    panel.barh(rows, imports, height=0.7, color=IMPORTS, hatch="//////", edgecolor="white", linewidth=0)
    panel.barh(rows, work, left=imports, height=0.7, color=WORK)
    for row, stage in enumerate(stages):
        jobs = f"{stage.jobs} job" + "s" * (stage.jobs != 1)
        words = f"{stage.cpu_seconds:,.0f} s, {jobs}, {100 * stage.import_share:.0f} % imports"
        panel.annotate(
            words, (stage.cpu_seconds, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    panel.set_yticks(rows, [stage.stage for stage in stages])
    panel.set_ylim(len(stages) - 0.4, -0.6)
    # Room for the words at the end of the longest bar: they are about 1.7 inches wide.
    panel.set_xlim(0, max(stage.cpu_seconds for stage in stages) * (1 + 1.75 / max(0.8, width - 2.5)))
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("CPU seconds")
    handles = [Patch(facecolor=IMPORTS, edgecolor="white", hatch="//////"), Patch(facecolor=WORK)]
    style.legend(figure, handles, ["starting Python and importing", "work"])
    return figure
