"""Words beside points that never cover each other, a point, or the frame."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from palimpsest.presentation import style

ANGLES = (25, 155, -25, -155, 90, -90, 60, 120, -60, -120, 0, 180)
DISTANCES = (7, 11, 15, 21, 28, 38, 50)  # points; from the third on a thin line leads back to the point
MOST = 24  # words in a panel; where there are more, a figure names fewer points
POINT = 3.2  # points: half the size of a marker


def place(
    panel: Axes,
    points: Sequence[tuple[float, float, str]],
    obstacles: Sequence[tuple[float, float]],
    bars: Sequence[tuple] = (),
    size: float = 6.5,
) -> int:
    """Write each text near its (x, y) in the nearest place free of the others, the points `obstacles` and `bars`.

    A bar is (x0, y0, x1, y1), all in the units of the axes.

    Call it when the limits are set. Returns how many texts found no free place and were left out.
    """
    figure = panel.figure
    figure.draw_without_rendering()  # so that the layout, and with it the positions, are final
    scale = figure.dpi / 72
    frame = panel.get_window_extent()
    taken = [_around(panel.transData.transform(point), POINT * scale) for point in obstacles]
    for x0, y0, x1, y1 in bars:
        (left, bottom), (right, top) = panel.transData.transform([(x0, y0), (x1, y1)])
        taken.append(Bbox.from_extents(left - scale, bottom - scale, right + scale, top + scale))
    left_out = 0
    for x, y, words in sorted(points, key=lambda point: (-point[1], point[0], point[2])):
        text = panel.annotate(
            words,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            color=style.INK,
            annotation_clip=False,
        )
        text.set_in_layout(False)
        box = text.get_window_extent()
        home = panel.transData.transform((x, y))
        spot = _free_spot(home, box.width, box.height, scale, frame, taken)
        text.remove()
        if spot is None:
            left_out += 1
            continue
        distance, angle, where = spot
        taken.append(where)
        dx, dy = distance * cos(radians(angle)), distance * sin(radians(angle))
        line = (
            {"arrowstyle": "-", "color": style.EDGE, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
            if distance > 11
            else None
        )
        text = panel.annotate(
            words, (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=size, color=style.INK,
            ha=_side(dx), va=_height(dy), arrowprops=line, annotation_clip=False,
        )  # fmt: skip
        text.set_in_layout(False)
    return left_out


def _free_spot(home, width: float, height: float, scale: float, frame: Bbox, taken: Sequence[Bbox]):
    for distance in DISTANCES:
        for angle in ANGLES:
            dx, dy = distance * cos(radians(angle)), distance * sin(radians(angle))
            x, y = home[0] + dx * scale, home[1] + dy * scale
            x0 = {"left": x, "right": x - width, "center": x - width / 2}[_side(dx)]
            y0 = {"bottom": y, "top": y - height, "center": y - height / 2}[_height(dy)]
            box = Bbox.from_bounds(x0, y0, width, height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                return distance, angle, box
    return None


def _side(dx: float) -> str:
    return "left" if dx > 1 else "right" if dx < -1 else "center"


def _height(dy: float) -> str:
    return "bottom" if dy > 3 else "top" if dy < -3 else "center"


def _around(point, half: float) -> Bbox:
    return Bbox.from_extents(point[0] - half, point[1] - half, point[0] + half, point[1] + half)
