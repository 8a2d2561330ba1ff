"""The recoveries of each cell by what they can say on displacement, and the numbers that go with it."""

from __future__ import annotations

from dataclasses import replace

from palimpsest.analysis.arms import ARMS, CONSULTS, TEXT
from palimpsest.grid import Cell
from palimpsest.presentation import quantities
from palimpsest.presentation.data import Number, Quantity, Tables

# task -> how its answers are scored, in words
SCORED = {"closed_book_mc": "within the values", "closed_book": "in the full vocabulary"}

NOTHING_KNOWN = "The dense model knows no fact about the people under test: no verdict."


def scored(tables: Tables) -> dict[str, str]:
    """The tasks that the study estimates displacement with: task -> in words."""
    return {task: words for task, words in SCORED.items() if tables.has(of(quantities.KNOWN_CHANGE, task))}


def of(quantity: Quantity, task: str, subset: str | None = None) -> Quantity:
    """A quantity of this chapter on another task, or subset."""
    return replace(quantity, task=task, subset=subset or quantity.subset)


def arm(tables: Tables, recovery: str) -> str:
    """The recovery's arm; `text` where the metrics do not say."""
    return tables.arms.get(recovery, TEXT)


def sorted_recoveries(tables: Tables, cell: Cell) -> list[str]:
    """A cell's recoveries without twins: those whose returns count first, those that look at the dense weights last."""
    return sorted(tables.recoveries[cell], key=lambda name: (ARMS.index(arm(tables, name)), name))


def consults(tables: Tables, recovery: str) -> bool:
    return arm(tables, recovery) == CONSULTS


def title(tables: Tables, recovery: str) -> str:
    """`lora-r4`, or with its arm where that is another than text: `eora-r4 (consults dense)`."""
    found = arm(tables, recovery)
    return recovery if found == TEXT else f"{recovery} ({found})"


def parts(tables: Tables, task: str, cell: Cell, recovery: str, subset: str = "all") -> tuple[Number, Number] | None:
    """(returned unseen, not returned) as shares of the damage; None without a verdict.

    Of a recovery that looks at the dense weights, what was repaired.
    """
    names = quantities.REPAIRED if consults(tables, recovery) else quantities.RETURNED_PARTS
    found = [tables.numbers(of(name, task, subset), [cell], recovery)[cell] for name in names]
    return None if any(number.value != number.value for number in found) else tuple(found)


def strata(tables: Tables, task: str, cell: Cell) -> list[str]:
    """`exposures 12-40`, …: the subsets by how often training said a fact, the rarest first."""
    rows = tables.metrics
    chosen = (rows["task"] == task) & (rows["metric"] == "damage") & (rows["model"] == cell.model)
    names = set(rows.loc[chosen & rows["subset"].str.startswith("exposures "), "subset"])
    return sorted(names, key=lambda name: int(name.split()[1].split("-")[0]))
