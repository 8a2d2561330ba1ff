"""How figures look: the style file, one look for each label, and files without dates."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from palimpsest.provenance import atomic_file

REPORTS = Path(__file__).resolve().parents[2] / "reports"

WIDE = 6.5  # inches: the text width of the paper
NARROW = 3.6  # inches: a telephone
INK, EDGE, RULE = "#1c1c1e", "#8e8e93", "#d8d8dc"
PAPER = "#fefefe"  # the inside of hollow markers
SHADE = "#f1e3c6"  # a region that a caption speaks of
PAGE_COLORS = {INK: "ink", EDGE: "edge", RULE: "rule", SHADE: "shade", PAPER: "paper"}

# Hue and marker by method, from Okabe and Ito's colour-blind safe palette; markers and lines tell them apart in grey.
SOLID, DASHED, DASHDOT, DOTTED = "-", (0, (4, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.2, 1.4))
METHODS = {
    "magnitude": ("#d55e00", "o", SOLID),
    "wanda": ("#e69f00", "s", DASHED),
    "sparsegpt": ("#a23b7e", "^", DASHDOT),
    "dsnot": ("#8c6d31", ">", DOTTED),
    "alps": ("#b2182b", "d", SOLID),
    "structured": ("#e07ba8", "p", DASHED),
    "rtn": ("#0072b2", "D", SOLID),
    "gptq": ("#56b4e9", "v", DASHED),
    "awq": ("#7570b3", "h", DASHDOT),
    "hqq": ("#17807e", (4, 1, 0), DOTTED),
    "nf4": ("#4d7c0f", "8", SOLID),
    "llm-int8": ("#3f3f9e", "H", SOLID),
    "smoothquant": ("#b36bd1", "<", SOLID),
    "svd": ("#00795a", "P", SOLID),
    "svd-llm": ("#5fbf9f", "X", DASHED),
    "fwsvd": ("#a6761d", (3, 1, 0), DASHDOT),
    "asvd": ("#7f9f1f", (6, 1, 0), DOTTED),
    "afm": ("#d1495b", (8, 1, 0), SOLID),
    "bolaco": ("#5b6770", (5, 0, 180), DASHED),
    "laser": ("#9c4f96", (3, 1, 180), DASHDOT),
}
FILLS = ("none", "left", "bottom")
SPARE = [
    ("#cc79a7", (4, 1, 45), DOTTED), ("#6b4226", (5, 1, 180), DASHDOT), ("#1b6ca8", (6, 1, 30), DOTTED),
    ("#66a61e", (7, 1, 0), DASHED), ("#e7298a", (4, 0, 22), SOLID), ("#525252", (6, 0, 15), DASHED),
    ("#8c510a", (7, 1, 26), DASHDOT),
]  # fmt: skip
FAMILIES = {"sparsity": "pruning", "n:m": "pruning", "bits": "quantization", "format": "quantization",
            "joint": "pruning + quantization", "kept share": "low rank", "rank share": "low rank",
            "full": "dense"}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a label is drawn, in every figure."""

    color: str
    marker: str
    line: object
    fill: str = "full"  # or none, left, bottom: of a method's later labels

    @property
    def face(self) -> str:
        return "none" if self.fill == "none" else self.color

    @property
    def points(self) -> dict[str, object]:
        """Keywords of `Axes.errorbar` for points with intervals."""
        return {"color": self.color, "marker": self.marker, "markerfacecolor": self.face, "markeredgecolor": self.color,
                "fillstyle": "full" if self.fill == "none" else self.fill, "markerfacecoloralt": PAPER,
                "elinewidth": 0.9}  # fmt: skip


DENSE = Look(INK, "*", SOLID)
RECOVERIES = (
    ("#0072b2", "o"), ("#d55e00", "s"), ("#00795a", "^"), ("#cc79a7", "D"), ("#e69f00", "v"), ("#56b4e9", "P"),
    ("#7570b3", "X"), ("#8c6d31", "h"), ("#b2182b", "<"), ("#4d7c0f", ">"), ("#5b6770", "p"), ("#6b4226", "d"),
)  # fmt: skip
ALONE = Look(INK, "x", SOLID)  # a cell without recovery


def looks(labels: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """label -> Look from (label, method) in order: a method's first label has its look, later ones are hollow, then
    half filled."""
    result: dict[str, Look] = {"dense": DENSE}
    spare = iter(SPARE * (1 + len(labels) // len(SPARE)))
    seen: dict[str, tuple] = {}
    many: dict[str, int] = {}
    lines = (SOLID, DASHED, DASHDOT, DOTTED)
    for label, method in labels:
        if label in result:
            continue
        if method not in seen:
            seen[method] = METHODS.get(method) or next(spare)
            result[label] = Look(*seen[method])
        else:
            color, marker, line = seen[method]
            others = [other for other in lines if other != line]
            many[method] = place = many.get(method, -1) + 1
            result[label] = Look(color, marker, others[place % len(others)], fill=FILLS[place % len(FILLS)])
    return result


def recovery_looks(recoveries: Sequence[str]) -> dict[str, Look]:
    """recovery -> Look; what has the colour and marker of an earlier one has another line, and is hollow."""
    lines = (SOLID, DASHED, DASHDOT, DOTTED)
    found = {}
    for number, name in enumerate(sorted(recoveries)):
        again, place = divmod(number, len(RECOVERIES))
        color, marker = RECOVERIES[place]
        found[name] = Look(color, marker, lines[(again + number) % 4], "none" if again else "full")
    return found


@contextlib.contextmanager
def context() -> Iterator[None]:
    """Draw and save inside it, so that a user's own matplotlibrc changes nothing."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            matplotlib.rc_params_from_file(REPORTS / "style.mplstyle", use_default_template=False)
        )
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure whose parts make room for each other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.04)
    return figure


def nothing_to_draw(width: float, words: str) -> Figure:
    """A figure that says why it is empty, of a study too small for it."""
    figure = new_figure(width, 0.6)
    figure.text(0.02, 0.5, words, va="center")
    return figure


def legend(figure: Figure, handles: Sequence, labels: Sequence[str]) -> None:
    """One legend above all panels, in as many columns as the width holds."""
    room = figure.get_figwidth() * figure.dpi
    for columns in range(len(labels), 0, -1):
        drawn = figure.legend(list(handles), list(labels), loc="outside upper left", ncols=columns)
        if columns == 1 or drawn.get_window_extent().width <= room:
            return
        drawn.remove()


def percentages(panel: Axes) -> None:
    """Keep the y axis of a share within what can be, with room for a marker at 100 %."""
    bottom, top = panel.get_ylim()
    panel.set_ylim(max(bottom, -2), min(top, 100 + 0.05 * (100 - bottom)))
    panel.set_yticks([tick for tick in panel.get_yticks() if max(bottom, 0) <= tick <= 100])


def at_least(panel: Axes, low: float, high: float) -> None:
    """Widen the y axis to hold `low` to `high`: small differences must not look large."""
    bottom, top = panel.get_ylim()
    panel.set_ylim(min(bottom, low), max(top, high))


def save(figure: Figure, *paths: str | Path) -> None:
    """Write PDF, PNG or SVG by suffix, without dates or version, so that the same figure has the same bytes."""
    metadata = {
        ".pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
    }
    for path in map(Path, paths):
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata[path.suffix])


def svg(figure: Figure, name: str) -> str:
    """The figure as an inline SVG: transparent, its greys taken from the page, ids that no other figure has."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    for color, name_in_page in PAGE_COLORS.items():
        text = text.replace(color, f"var(--{name_in_page})")
    # Two decimals of a point are enough for a path; transforms (the sizes of letters) keep theirs.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\d\.\d\d)\d+", r"\1", path[0]), text)
