"""The claims of the papers, each with this study's verdict."""

from __future__ import annotations

from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.tables.latex import Column, Table

TITLE = "Claims and verdicts"


def rows(tables: Tables) -> Table:
    """One row a claim, in the order of reports/claims.yaml."""
    columns = [
        Column("statement", "claim", right=False, wide=0.34),
        Column("paper", "paper", right=False, wide=0.12),
        Column("verdict", "verdict", right=False),
        Column("effect", "effect", "", 3),
        Column("threshold", "must exceed", "", 3),
        Column("where", "tested on", right=False, wide=0.24),
    ]
    table = Table(columns)
    for index, claim in enumerate(tables.claims):
        effect = None
        if claim.get("effect") is not None:
            low, high = (float("nan") if claim.get(end) is None else claim[end] for end in ("low", "high"))
            effect = Number(claim["effect"], low, high, int(claim.get("n") or 0))
        where = claim.get("where") or ""
        if claim["verdict"] == "undecided" and claim.get("would_decide"):
            where = f"{where}{'; ' if where else ''}would decide: {claim['would_decide']}"
        row = {"id": claim["id"], "statement": claim["statement"], "paper": claim["paper"], "verdict": claim["verdict"]}
        row |= {"effect": effect, "threshold": claim.get("threshold"), "where": where}
        table.add(row, new_block=index > 0)
    return table
