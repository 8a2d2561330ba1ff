"""Do probes and inference fall together? Both changes of every cell, and their rank correlation over the cells.

A probe's change is `acc_minus_dense` at the layer where the dense model's is read best (a structural probe's is that
of its UUAS); a group's is the mean of its probes', whose test rows are different sentences, so that their arms add as
independent ones do. That of inference is `difference`, the share of right answers minus the dense model's.

probe_change          at cells: task is the group, subset the inference task: the mean change of the group's probes
probe_nli_spearman    at the dense model: task and subset as above; Spearman's ρ of the two changes over its cells. The
                      interval draws cells anew (2,000 times): it says what other cells like these would have given, and
                      takes cells for independent, which two rates of one algorithm are not quite.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas
from scipy import stats

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.classification import INFERENCE, SUBSETS
from palimpsest.analysis.pairs import DENSE

COLUMNS = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
CONTROL = DENSE | {"method": "dense"}
FEWEST = 4  # cells of which a rank correlation is taken: three have six orders
CHANGES = ("acc_minus_dense", "uuas_minus_dense")
# Of poolings and classifiers the first that is there counts. Probes of heads have none of them.
POOLINGS, CLASSIFIERS = ("mean", "all", "last", "cls"), ("linear", "structural", "mlp")

# The ends of probes' names -> what they ask for, as SentEval groups them (Conneau et al. 2018).
GROUPS = {
    "sentence_length": "surface", "word_content": "surface",
    "tree_depth": "syntax", "top_constituents": "syntax", "top_deprels": "syntax", "bigram_shift": "syntax",
    "past_present": "semantics", "tense": "semantics", "subj_number": "semantics", "obj_number": "semantics",
    "odd_man_out": "semantics", "coordination_inversion": "semantics", "attribute_value": "facts",
    "part_of_speech": "word classes", "upos": "word classes", "xpos": "word classes",
    "dependency": "dependencies", "dependency_tree": "dependencies",
}  # fmt: skip


def group_of(probe: str) -> str:
    """`syntax` of `tree_depth` and `ewt_tree_depth`; of a probe in no group its own name."""
    return next((group for end, group in GROUPS.items() if probe.endswith(end)), probe)


def together(metrics: pandas.DataFrame) -> pandas.DataFrame:
    """The rows of metrics that come of a study's metrics, `metrics`, whose probes are among them.

    Of a probe's subsets and classifiers the first counts (of poolings, the mean; else "all"), the linear one.
    """
    plain = metrics[(metrics["recovery"] == "none") & (metrics["label"] != "random")]
    plain = plain.astype(dict.fromkeys(("value", "low", "high"), float))
    rows: list[dict] = []
    for model, own in plain.groupby("model", sort=False):
        drops = {}
        for probe in own.loc[own["metric"].isin(CHANGES) & own["subset"].isin(POOLINGS), "task"].unique():
            drops.setdefault(group_of(probe), []).append(_changes(own[own["task"] == probe]))
        for task, inference in _inference(own):
            for group, probes in sorted(drops.items()):
                found = _mean(probes)
                found = found[found.index.isin(inference.index)]
                rows += [
                    dict(zip(VARIANT, cell, strict=True)) | _key(group, task, "probe_change") | change.to_dict()
                    for cell, change in found.iterrows()
                ]
                pairs = found["value"].to_numpy(), inference.loc[found.index, "value"].to_numpy()
                # Where nothing changes there is nothing to rank.
                if len(found) >= FEWEST and all(len(set(values)) > 1 for values in pairs):
                    row = {"model": model} | CONTROL | _key(group, task, "probe_nli_spearman")
                    rows.append(row | spearman(*pairs).row())
    return pandas.DataFrame(rows, columns=COLUMNS)


def spearman(first: np.ndarray, second: np.ndarray) -> intervals.Estimate:
    """Spearman's ρ of (cells,) and (cells,), with its bootstrap interval over cells; draws of one cell only say 0."""

    def rho(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        ranks = [stats.rankdata(values, axis=-1) for values in (a, b)]
        ranks = [values - values.mean(-1, keepdims=True) for values in ranks]
        spread = np.sqrt((ranks[0] ** 2).sum(-1) * (ranks[1] ** 2).sum(-1))
        return np.divide((ranks[0] * ranks[1]).sum(-1), spread, out=np.zeros_like(spread), where=spread > 0)

    return intervals.bootstrap(rho, [(first, second)], n=len(first))


def _changes(probe: pandas.DataFrame) -> pandas.DataFrame:
    """variant -> value, low, high, n of one probe's change, at the layer where the dense model's is read best."""
    changes = _first(probe[probe["metric"].isin(CHANGES)])
    score = changes["metric"].iloc[0].removesuffix("_minus_dense")
    dense = _first(probe[(probe["metric"] == score) & (probe["label"] == DENSE["label"])])
    best = dense.loc[dense["value"].idxmax(), "layer"]
    changes = changes[(changes["layer"] == best) & (changes["label"] != DENSE["label"])]
    return changes.set_index(VARIANT)[["value", "low", "high", "n"]]


def _first(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows of the subset and classifier that count."""
    for column, wanted in (("subset", POOLINGS), ("scoring", CLASSIFIERS)):
        there = list(rows[column].unique())
        rows = rows[rows[column] == next((name for name in wanted if name in there), there[0])]
    return rows


def _mean(probes: list[pandas.DataFrame]) -> pandas.DataFrame:
    """The mean of several probes' changes, of the variants that all of them have."""
    found = pandas.concat(probes, keys=range(len(probes)), names=["probe"])
    arms = pandas.DataFrame({"low": found["value"] - found["low"], "high": found["high"] - found["value"]})
    count = found.groupby(VARIANT, sort=False).size()
    square = np.sqrt((arms**2).groupby(VARIANT, sort=False).sum()).div(count, axis=0)
    value = found.groupby(VARIANT, sort=False)["value"].mean()
    n = found.groupby(VARIANT, sort=False)["n"].sum()
    table = pandas.DataFrame({"value": value, "low": value - square["low"], "high": value + square["high"], "n": n})
    return table[count == len(probes)]


def _inference(own: pandas.DataFrame) -> Iterator[tuple[str, pandas.DataFrame]]:
    for task in INFERENCE:
        rows = own[(own["task"] == task) & (own["metric"] == "difference")]
        subset = SUBSETS.get(task, "all")
        rows = rows[rows["subset"] == (subset if (rows["subset"] == subset).any() else "all")]
        if len(rows):
            yield task, rows.set_index(VARIANT)[["value", "low", "high"]]


def _key(group: str, task: str, metric: str) -> dict[str, str]:
    return {"task": group, "subset": task, "scoring": "probes", "layer": "best", "metric": metric}
