"""Whether a model says the same of a fact however it is asked (ParaRel: Elazar et al., arXiv:2102.01017)."""

from __future__ import annotations

from itertools import combinations

import pandas

from palimpsest.analysis import intervals
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.pairs import parts


def consistency(answers: pandas.DataFrame) -> pandas.DataFrame:
    """`consistency` of each variant, task and subset: the share of pairs of paraphrases of one fact with one answer.

    A fact is a `passage` whose object is ranked after several `form`s; its pairs are a cluster.
    """
    asked = answers[(answers["passage"] != "") & (answers["form"] != "") & answers["bits"].notna()]
    rows = []
    for key, group in asked.groupby([*VARIANT, "task"], sort=True):
        name = dict(zip([*VARIANT, "task"], key, strict=True))
        for subset, part in parts(group):
            pairs = [
                (fact, first == second)
                for fact, said in part.groupby("passage")["answer"]
                for first, second in combinations(said, 2)
            ]
            if pairs:
                facts, same = map(pandas.Series, zip(*pairs, strict=True))
                share = intervals.share(same.astype(float), facts)
                rows.append(name | {"subset": subset, "metric": "consistency"} | share.row())
    return pandas.DataFrame(rows)
