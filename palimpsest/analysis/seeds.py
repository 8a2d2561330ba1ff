"""Several seeds: means over samples of the calibration text (or of a method's randomness), with both kinds of noise.

An interval over people says how the result would move with other people and the same samples. With two seeds or more
it is widened by how much the seeds' results differ beyond the noise of single answers, which the people have counted
already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas
from scipy import stats

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT, clusters
from palimpsest.analysis.pairs import DENSE, of_dense, parts

# A weight, right answers (a row a question, a column a seed), and the questions' clusters by question: those of the
# questions that the mean is over.
Term = tuple[float, pandas.DataFrame, pandas.Series]


def weighted_means(terms: Sequence[Term]) -> intervals.Estimate:
    """Σ weight · mean right answers over questions and seeds, with its interval.

    Terms over the same questions (the same Series of clusters) are drawn together by the bootstrap, the others
    independently.
    """
    sums, n = [], 0
    for of in {id(of): of for _, _, of in terms}.values():
        mean = sum(weight * right.mean(axis=1).reindex(of.index) for weight, right, part in terms if part is of)
        sums.append(intervals.cluster_sums(mean, of))
        n += len(of)
    found = intervals.bootstrap(
        lambda *drawn: sum(s.sum(-1) / c.sum(-1) for s, c in zip(drawn[::2], drawn[1::2], strict=True)), sums, n=n
    )
    wider = between_seeds(terms)
    low, high = (np.hypot(arm, wider) for arm in (found.value - found.low, found.high - found.value))
    return intervals.Estimate(found.value, float(found.value - low), float(found.value + high), n)


def between_seeds(terms: Sequence[Term]) -> float:
    """Half of the width that samples add to a 95 % interval: Student's t times the standard error of the seeds' means,
    without the share of it that questions answered independently in each sample would have; 0 with one seed."""
    variance, freedom = 0.0, 0
    for right in {id(right): right for _, right, _ in terms}.values():
        count = right.shape[1]
        if count < 2:
            continue
        seeds, noise = np.zeros(count), 0.0
        for weight, of in [(weight, of) for weight, other, of in terms if other is right]:
            asked = right.reindex(of.index)
            residual = weight * asked.groupby(of.to_numpy()).sum().to_numpy() / len(of) / count
            seeds += residual.sum(axis=0)
            residual = residual - residual.mean(axis=1, keepdims=True)
            noise += (residual**2).sum()
        variance += (((seeds - seeds.mean()) ** 2).sum() - noise) * count / (count - 1)
        freedom += count - 1
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(max(0.0, variance))) if freedom else 0.0


def differences(answers: pandas.DataFrame) -> pandas.DataFrame:
    """`seed_difference` of every label and level with several seeds: the mean over them minus the dense model.

    Rows as in metrics.parquet, by task and subset, with the same value at each of the seeds.
    """
    judged = answers[answers["correct"].notna()]
    rows = []
    for (model, task), asked in judged.groupby(["model", "task"], sort=True):
        control = of_dense(asked, model)
        dense = control.set_index("question")[["correct"]]
        others = asked[(asked["label"] != DENSE["label"]) | (asked["recovery"] != "none")]
        for key, found in others.groupby([column for column in VARIANT if column != "seed"], sort=True):
            if found["seed"].nunique() < 2:
                continue
            right = found.pivot(index="question", columns="seed", values="correct")
            name = dict(zip([column for column in VARIANT if column != "seed"], key, strict=True)) | {"task": task}
            for subset, part in parts(control):
                of = clusters(part).set_axis(part["question"])
                estimate = weighted_means([(1.0, right, of), (-1.0, dense, of)])
                shared = name | {"subset": subset, "metric": "seed_difference"} | estimate.row()
                rows += [shared | {"seed": seed} for seed in right.columns]
    return pandas.DataFrame(rows)
