"""Matching: a variant that answers at most 5 % fewer questions right than its dense model (Jaiswal et al. 2024).

A drop that was measured to be 4 % shows nothing yet; matching is what an equivalence test shows. Of its two one-sided
tests at 5 % (TOST, Schuirmann 1987), the one of "the drop is 5 % or more" decides that a variant matches, and that of
"the drop is 5 % or less" that it does not; where neither rejects, it is undecided. Better than dense is matching, so
there is no second margin. With a the share of dense's right answers and l, g the shares lost and gained, the drop
(l − g)/a is under the margin m where m·a − l + g > 0: a sum of shares, which `intervals.weighted_sum` has an interval
for, and the tests are whether its 90 % interval lies above or below zero.

The level at which a label stops matching is where the accuracies at its levels, made to fall with the level by
isotonic regression, pass 95 % of dense's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas

from palimpsest import levels
from palimpsest.analysis import intervals
from palimpsest.analysis.answers import clusters
from palimpsest.analysis.intervals import Estimate
from palimpsest.analysis.pairs import of_dense, parts

MARGIN = 0.05
MATCHING, UNDECIDED, NOT_MATCHING = 1, 0, -1
TESTS = 0.90  # the level of the interval that two one-sided tests at 5 % go by


def verdict(dense: pandas.Series, variant: pandas.Series, groups: pandas.Series, margin: float = MARGIN) -> int:
    """1 matching, −1 not matching, 0 undecided, from the right answers (0/1) to the same questions."""
    change = np.asarray(variant, dtype=float) - np.asarray(dense, dtype=float)
    counts = intervals.cluster_sums(dense, groups)[1]
    # How a few losses come together is doubted here: a false "matching" is worse than "undecided".
    shares = [
        intervals.clustered_share(intervals.cluster_sums(values, groups)[0], counts, student=True, level=TESTS)
        for values in (dense, change < 0, change > 0)
    ]
    within = intervals.weighted_sum((margin, -1, 1), shares)
    return MATCHING if within.low > 0 else NOT_MATCHING if within.high < 0 else UNDECIDED


def relative_drop(dense: pandas.Series, variant: pandas.Series, groups: pandas.Series) -> Estimate:
    """(a − b)/a with its 95 % interval: the margins m at which that of m·a − l + g holds zero. NaN: no such end."""
    change = np.asarray(variant, dtype=float) - np.asarray(dense, dtype=float)
    base = intervals.clustered_share(*intervals.cluster_sums(dense, groups), student=True)
    lost, gained = intervals.changes(change, groups)
    drop = lost.value - gained.value
    if base.value == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), base.n)
    correlation = intervals.correlations([base, lost, gained])
    ends = []
    for side in (-1, 1):
        # The arms of m·a − l + g on the side that meets zero last as m grows (side 1) or falls (side −1).
        a = intervals.arm(base, -side)
        rest = np.array([-intervals.arm(lost, side), intervals.arm(gained, -side)])
        square, cross = rest @ correlation[1:, 1:] @ rest, a * correlation[0, 1:] @ rest
        # (m·a − drop)² = m²·a_arm² + 2·m·cross + square
        lead, middle = base.value**2 - a**2, base.value * drop + cross
        inner = middle**2 - lead * (drop**2 - square)
        ends.append((middle + side * np.sqrt(inner)) / lead if lead > 0 and inner >= 0 else float("nan"))
    return Estimate(drop / base.value, float(ends[0]), float(ends[1]), base.n)


def stopping_levels(answers: pandas.DataFrame) -> pandas.DataFrame:
    """`stops_matching` of every label with several levels of one kind, task and subset, at each of its cells.

    The value is on the levels' own scale (sparsity, bits, kept share), as in `stopping`; `n` is the questions.
    """
    judged = answers[answers["correct"].notna()]
    rows = []
    for (model, task), asked in judged.groupby(["model", "task"], sort=True):
        dense = of_dense(asked, model)
        cells = asked[(asked["recovery"] == "none") & (asked["label"] != "dense")]
        for label, found in cells.groupby("label", sort=True):
            for scale in _scales(found["level"].unique()):
                mine = found[found["level"].isin(scale)]
                for subset, rights, of in _rights(dense, mine, list(scale)):
                    estimate = stopping(rights, list(scale.values()), of)
                    name = {"model": model, "label": label, "recovery": "none", "task": task, "subset": subset}
                    name |= {"metric": "stops_matching"} | estimate.row()
                    cell = mine[["method", "level", "seed"]].drop_duplicates()
                    rows += [name | row for row in cell.to_dict("records")]
    return pandas.DataFrame(rows)


def stopping(
    rights: Sequence[pandas.Series], scale: Sequence[float], groups: pandas.Series, margin: float = MARGIN
) -> Estimate:
    """Where on `scale` the accuracy passes 1 − margin of dense's, with its bootstrap interval over clusters.

    `rights` are dense's right answers and then those at each level, mild to harsh, all to the same questions; between
    levels the accuracy is taken to fall linearly. It stops before the mildest level, or never: then the value is not
    a number, and the interval says how far was looked (it is open, NaN, beyond that).
    """
    sums = np.array([intervals.cluster_sums(right, groups)[0] for right in rights])  # (1 + levels, clusters)
    count = sums.shape[1]
    if not sums[0].any():
        return Estimate(*[float("nan")] * 3, len(groups))
    value = float(_crossing(sums.sum(axis=1)[None], 1 - margin)[0])
    if count < 2:
        ends = [float("nan")] * 2
    else:
        drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=intervals.RESAMPLES)
        tail = (1 - intervals.expanded(count)) / 2
        ends = np.quantile(_crossing(drawn @ sums.T, 1 - margin), [tail, 1 - tail], method="nearest")
    ends = [_on(scale, end, side) for end, side in zip(ends, (-1, 1), strict=True)]
    low, high = ends if scale[-1] > scale[0] else ends[::-1]
    return Estimate(_on(scale, value, 0), low, high, len(groups))


def _crossing(totals: np.ndarray, share: float) -> np.ndarray:
    """Where each row of (draws, 1 + levels) passes `share` of its first column: 0 at the first level, 1 at the next
    and so on; −inf before the first and inf after the last."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted = falling(totals[:, 1:] / totals[:, :1])
        below = fitted < share
        step = below.argmax(axis=1)
        rows = np.arange(len(fitted))
        before, after = fitted[rows, step - 1], fitted[rows, step]
        place = step - 1 + (before - share) / (before - after)
    place = np.where(step == 0, -np.inf, place)
    return np.where(below.any(axis=1), place, np.inf)


def falling(values: np.ndarray) -> np.ndarray:
    """Isotonic regression, falling, of each row: f_i = min over j ≤ i of max over k ≥ i of the mean of j to k.

    (Robertson, Wright & Dykstra 1988, theorem 1.4.4; scipy's does a row at a time, which a bootstrap feels.)
    """
    count = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), values.cumsum(axis=1)], axis=1)
    best = np.full(values.shape, np.inf)
    for start in range(count):
        means = (sums[:, start + 1 :] - sums[:, start : start + 1]) / np.arange(1, count - start + 1)
        largest = np.maximum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        best[:, start:] = np.minimum(best[:, start:], largest)
    return best


def _on(scale: Sequence[float], place: float, side: int) -> float:
    """A place between levels on their scale; beyond them NaN, or for an end of an interval that is not open there the
    last level."""
    if place == -np.inf:
        return float(scale[0]) if side > 0 else float("nan")
    if place == np.inf:
        return float(scale[-1]) if side < 0 else float("nan")
    return float(np.interp(place, np.arange(len(scale)), scale))


def _scales(texts: Sequence[str]) -> Iterator[dict[str, float]]:
    """Levels that lie on one scale, mild to harsh, with their places on it; n:m, formats and joint levels have none."""
    found: dict[tuple, dict[str, float]] = {}
    for text in texts:
        level = levels.parse(text)
        if level.syntax == "sparsity":
            found.setdefault(("sparsity",), {})[text] = level.fraction
        elif level.syntax == "bits":
            found.setdefault(("bits", level.group), {})[text] = level.bits
        elif level.syntax in ("kept share", "rank share"):
            found.setdefault((level.syntax,), {})[text] = level.share
    for (syntax, *_), scale in found.items():
        if len(scale) > 1:
            yield dict(sorted(scale.items(), key=lambda pair: pair[1] if syntax == "sparsity" else -pair[1]))


def _rights(
    dense: pandas.DataFrame, cells: pandas.DataFrame, texts: Sequence[str]
) -> Iterator[tuple[str, list[pandas.Series], pandas.Series]]:
    """(subset, right answers of dense and at each level, the mean over its seeds; clusters)."""
    mean = cells.pivot_table(index="question", columns="level", values="correct", aggfunc="mean")
    for subset, part in parts(dense):
        questions = part["question"]
        rights = [part["correct"].to_numpy(), *(mean.loc[questions, text].to_numpy() for text in texts)]
        yield subset, rights, clusters(part).to_numpy()
