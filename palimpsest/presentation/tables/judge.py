"""What the judge says of every cell's free texts, and beside it how far the judge agrees with GPT-4."""

from __future__ import annotations

from palimpsest.presentation import quantities
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.tables.latex import Column, Table, cell_columns

TITLE = "What the judge says, and how far it agrees with GPT-4"
NONE_STORED = "no stored judgements"
SCORES = {
    "judge_win_rate": Column("judge_win_rate", "preferred", "to dense, %", 1, 100),
    "judge_consistency": Column("judge_consistency", "consistent", "both orders, %", 1, 100),
    "judge_grade": Column("judge_grade", "grade", "1 to 10", 2),
    "judge_truncated": Column("judge_truncated", "cut off", "%", 1, 100),
}
KAPPAS = {
    "judge_kappa": Column("judge_kappa", "κ", "preferences", 2),
    "judge_grade_kappa": Column("judge_grade_kappa", "κ", "grades", 2),
}


def rows(tables: Tables) -> Table:
    """One row a task and cell; the dense model is graded, and has nothing to be preferred to."""
    task_column, n_column = Column("task", "task", right=False), Column("n", "answers", "", 0)
    table = Table([*cell_columns(tables), task_column, *SCORES.values(), *KAPPAS.values(), n_column])
    for task in quantities.judge_tasks(tables):
        found = {metric: _numbers(tables, task, metric) for metric in (*SCORES, *KAPPAS)}
        for index, cell in enumerate(tables.cells):
            row = {"model": cell.model, "label": cell.label, "level": cell.level, "seed": cell.seed}
            row |= {"task": quantities.title_of(task), "n": found["judge_grade"][cell].n}
            row |= {metric: found[metric].get(cell) for metric in SCORES}
            row |= {metric: _kappa(found[metric][cell]) for metric in KAPPAS}
            table.add(row, new_block=index == 0)
    return table


def _numbers(tables: Tables, task: str, metric: str) -> dict:
    return tables.where_it_stands(Quantity(metric, task, metric, scoring="judge", may_lack_verdict=True))


def _kappa(number: Number) -> Number | str:
    return number if number.n else NONE_STORED
