"""What probes read, as metrics: rows of metrics.parquet from the probes' outcomes (probing/study.py).

acc, control_acc, selectivity     share of right answers on the test rows, the same on the control task (Hewitt & Liang
                                  2019), and the difference, paired by row
acc_minus_dense                   paired by row with the dense model's probe at the same layer
majority, control_majority        share of the test rows with the label that is most frequent in training; layer 0
shuffled_acc                      share of right answers where labels are dealt out at random: chance
codelength, control_codelength    bits of the labels of the training rows (Voita & Titov 2020)
compression                       bits of a uniform code over codelength: 1 where nothing can be read
uuas, spearman                    means over sentences (Hewitt & Manning 2019), and the same minus the dense model's

A row's cluster is the sentence or the person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.intervals import Estimate
from palimpsest.analysis.pairs import DENSE

COLUMNS = [*VARIANT, "task", "subset", "scoring", "layer", "metric", "value", "low", "high", "n"]
WHAT = ["task", "subset", "scoring", "layer", "metric"]
NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0)
SHARES = {"acc": "acc", "majority": "majority", "shuffled": "shuffled_acc"}  # an outcome's metric -> its name here


def table(outcomes: Iterable[pandas.DataFrame]) -> pandas.DataFrame:
    """The metrics of every probe, and where its subsets have different rows, of all of them together."""
    rows = [row for each in outcomes for row in _rows(each)]
    return pandas.DataFrame(rows, columns=COLUMNS)


def _rows(outcomes: pandas.DataFrame) -> Iterator[dict[str, Any]]:
    outcomes = outcomes.astype({"subset": str, "label": str, "recovery": str, "row": str, "cluster": str})
    for part in [outcomes, outcomes.assign(subset="all")] if _parts(outcomes) else [outcomes]:
        dense = {
            key: group.set_index("row")["value"]
            for key, group in part[_is_dense(part)].groupby(["model", *WHAT], sort=False, observed=True)
        }
        for key, group in part.groupby([*VARIANT, *WHAT], sort=True, observed=True):
            name = dict(zip([*VARIANT, *WHAT], key, strict=True))
            beside = dense.get((name["model"], *key[len(VARIANT) :]))
            control = name["label"] == DENSE["label"] and name["recovery"] == DENSE["recovery"]
            found = _estimates(name["metric"], group.dropna(subset="value"), None if control else beside)
            for metric, estimate in found.items():
                yield name | {"layer": str(name["layer"]), "metric": metric} | estimate.row()


def _parts(outcomes: pandas.DataFrame) -> bool:
    """Whether the subsets are parts of the rows, as attributes are; poolings are not, nor are heads."""
    tested = outcomes[outcomes["row"] != ""]
    subsets = outcomes["subset"].nunique()
    return subsets > 1 and (tested.groupby("row", sort=False)["subset"].nunique() == 1).all()


def _is_dense(outcomes: pandas.DataFrame) -> pandas.Series:
    return (outcomes["label"] == DENSE["label"]) & (outcomes["recovery"] == DENSE["recovery"])


def _estimates(metric: str, tested: pandas.DataFrame, dense: pandas.Series | None) -> Mapping[str, Estimate]:
    if metric in SHARES:
        return _shares(SHARES[metric], tested, dense)
    if metric == "codelength":
        return _codelengths(tested)
    found = {metric: intervals.mean(tested["value"], tested["cluster"])} if len(tested) else {metric: NOTHING}
    if dense is not None and len(tested):
        found[f"{metric}_minus_dense"] = intervals.mean(_change(tested, dense), tested["cluster"])
    return found


def _shares(name: str, tested: pandas.DataFrame, dense: pandas.Series | None) -> Mapping[str, Estimate]:
    asked = [name, f"control_{name}", "selectivity"] if name == "acc" else [name]
    if tested.empty:
        return dict.fromkeys(asked, NOTHING)
    clusters = tested["cluster"]
    found = {name: intervals.share(tested["value"], clusters)}
    if tested["control"].notna().all():
        found[f"control_{name}"] = intervals.share(tested["control"], clusters)
        if name == "acc":
            found["selectivity"] = intervals.paired_difference(tested["value"] - tested["control"], clusters)
    if name == "acc" and dense is not None:
        found["acc_minus_dense"] = intervals.paired_difference(_change(tested, dense), clusters)
    return found


def _codelengths(sent: pandas.DataFrame) -> Mapping[str, Estimate]:
    found, uniform = {}, float(np.log2(sent["classes"].iloc[0]))
    for name, column in (("codelength", "value"), ("control_codelength", "control")):
        if sent[column].notna().all():
            bits = intervals.mean(sent[column], sent["cluster"])
            found[name] = Estimate(bits.value * bits.n, bits.low * bits.n, bits.high * bits.n, bits.n)
            if column == "value":
                found["compression"] = Estimate(uniform / bits.value, uniform / bits.high, uniform / bits.low, bits.n)
    return found


def _change(tested: pandas.DataFrame, dense: pandas.Series) -> pandas.Series:
    """Each row's value minus that of the dense model's probe; a row that only one of them was tested on is an error."""
    return tested["value"] - dense.loc[tested["row"]].to_numpy()
