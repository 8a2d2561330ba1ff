"""Which soft prompt was chosen, how clearly, and what choosing came to beside the best prompt alone and the oracle."""

from __future__ import annotations

import pandas

from palimpsest.analysis.choices import SCORED
from palimpsest.presentation import quantities
from palimpsest.presentation.data import CELL, Number, Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "Which soft prompt was chosen"
METRICS = ("chosen", "best_prompt", "oracle", "oracle_minus_best_prompt")
GAIN = "idp_gain"


def rows(tables: Tables) -> Table:
    """One row a variant that chooses and task. What choosing gains is over all facts that were shown, the best prompt
    being picked by other people; the columns that follow are on forms that picked no prompt."""
    columns = [
        Column("recovery", "recovery", right=False),
        Column("task", "task", right=False),
        Column("most", "most chosen", right=False),
        Column("share", "of inputs", "%", 0, 100),
        Column("margin", "margin", "×1000", 1, 1000),
        Column(GAIN, "over best prompt", "points", 1, 100),
        Column("chosen", "right", "%", 1, 100),
        Column("best_prompt", "best prompt", "%", 1, 100),
        Column("oracle", "oracle", "%", 1, 100),
        Column("oracle_minus_best_prompt", "oracle, over best", "points", 1, 100),
    ]
    table, found = Table([*cell_columns(tables), *columns]), tables.metrics
    found = found[found["metric"].isin(("choice_share", *METRICS[:1]))]
    for cell in tables.recoveries:
        mine = found[(found[CELL] == [getattr(cell, part) for part in CELL]).all(axis=1)]
        asked = mine[["recovery", "task"]].drop_duplicates().sort_values(["recovery", "task"])
        asked = asked[asked["recovery"].isin(tables.recoveries[cell])]
        for number, (recovery, task) in enumerate(asked.itertuples(index=False, name=None)):
            row = {part: getattr(cell, part) for part in CELL} | {"recovery": recovery}
            row |= {"task": quantities.title_of(task)} | _said(tables.metrics, row, task)
            table.add(row, new_block=number == 0)
    return table


def _said(metrics: pandas.DataFrame, variant: dict, task: str) -> dict[str, object]:
    """The row's numbers; what a task or a control does not have is left out."""
    rows = metrics[(metrics["recovery"] == variant["recovery"]) & (metrics["task"] == task)]
    rows = rows[(rows[CELL] == [variant[part] for part in CELL]).all(axis=1)]
    said: dict[str, object] = {}
    shares = rows[rows["metric"] == "choice_share"].sort_values("value", ascending=False, kind="stable")
    if len(shares):
        said |= {"most": shares["subset"].iloc[0], "share": _number(shares)}
    margins = rows[(rows["metric"] == "choice_margin") & (rows["subset"] == "all")]
    said |= {"margin": _number(margins)} if len(margins) else {}
    gains = rows[rows["metric"] == GAIN].set_index("subset", drop=False)
    shown = [subset for subset in ("shown", "all") if subset in gains.index]
    said |= {GAIN: _number(gains.loc[shown[:1]])} if shown else {}
    scored = rows[rows["subset"] == SCORED]
    return said | {metric: _number(one) for metric in METRICS if len(one := scored[scored["metric"] == metric])}


def _number(rows: pandas.DataFrame) -> Number:
    return Number(*rows[["value", "low", "high", "n"]].iloc[0])
