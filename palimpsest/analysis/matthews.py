"""Matthews correlation of answers with two classes of unequal size, where a constant answer has a high accuracy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters
from palimpsest.analysis.pairs import parts
from palimpsest.provenance import PalimpsestError


def correlations(answers: pandas.DataFrame, tasks_folder: Path | str | None) -> pandas.DataFrame:
    """`mcc` of each variant, task and subset, for tasks whose file names that metric.

    0 where all answers are one class (as in scikit-learn). The interval is a bootstrap over clusters.
    """
    if tasks_folder is None:
        return pandas.DataFrame()
    wanted = [task for task in answers["task"].unique() if _names_mcc(Path(tasks_folder) / task / f"{task}.yaml")]
    rows = []
    for key, group in answers[answers["task"].isin(wanted)].groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True))
        classes = sorted({*group["gold"], *group["answer"]})
        if len(classes) > 2:
            raise PalimpsestError(f"answers: {name['task']} has {len(classes)} classes; mcc is for two.")
        for subset, part in parts(group):
            right, positive = part["gold"] == part["answer"], part["gold"] == classes[0]
            kinds = [right & positive, right & ~positive, ~right & ~positive, ~right & positive]
            totals = [kind.astype(float).groupby(clusters(part).to_numpy()).sum().to_numpy() for kind in kinds]
            [estimate] = intervals.bootstrap_totals(_matthews, [np.array(totals)], n=len(part))
            rows.append(name | {"subset": subset, "metric": "mcc"} | estimate.row())
    return pandas.DataFrame(rows)


def _matthews(totals: np.ndarray) -> list[np.ndarray]:
    hits, rejections, alarms, misses = totals
    product = (hits + alarms) * (hits + misses) * (rejections + alarms) * (rejections + misses)
    value = (hits * rejections - alarms * misses) / np.sqrt(np.where(product > 0, product, 1))
    return [np.where(product > 0, value, 0.0)]


def _names_mcc(file: Path) -> bool:
    return file.exists() and re.search(r"^- metric: mcc$", file.read_text(encoding="utf-8"), re.MULTILINE) is not None
