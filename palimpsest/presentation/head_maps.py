"""Maps of attention heads: blocks upwards, counted from 1, heads to the right, counted from 0."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure


def frame(panel: Axes, shape: tuple[int, int], *, leftmost: bool) -> None:
    """First and last block and head of a map (blocks, heads); blocks are named at the left only."""
    blocks, heads = shape
    panel.grid(visible=False)
    panel.set_xticks([0, heads - 1], ["0", str(heads - 1) if heads > 1 else ""])
    panel.set_yticks([0, blocks - 1], ["1", str(blocks)] if leftmost else ["", ""])
    panel.tick_params(length=0, labelsize=6)


def finish(figure: Figure, axes, drawn: ScalarMappable, label: str) -> None:
    """The name of the x axis, and the scale."""
    figure.supxlabel("head", fontsize=7.5)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.01, aspect=35)
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=6)
