"""What a study found of what was only displaced, in sentences: computed from its tables, left out where it has none."""

from __future__ import annotations

from palimpsest.analysis.arms import CONSULTS, MASKED, OTHER, TEXT, UNTRAINED
from palimpsest.grid import Cell
from palimpsest.presentation import arms_of, quantities
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.figures import unsaid as unsaid_
from palimpsest.presentation.summary import few, named, percent

PLACEBOS = {MASKED: "With the loss masked at the values", OTHER: "With text without known facts",
            UNTRAINED: "Untrained"}  # fmt: skip


def came_back(tables: Tables) -> list[str]:
    """A few sentences a cell: what came back about the people that no text speaks of, arm by arm."""
    tasks = arms_of.scored(tables)
    if not tasks:
        return []
    sentences = []
    for cell in tables.recoveries:
        if cell.is_dense:
            continue
        task = next(iter(tasks))
        damage = tables.numbers(arms_of.of(quantities.DAMAGE, task), [cell])[cell]
        found = {name: _returned(tables, task, cell, name) for name in arms_of.sorted_recoveries(tables, cell)}
        if not any(number.value == number.value for number in found.values()):
            sentences.append(
                f"{named(tables, cell)}: no verdict, since fewer than 10 points of the known facts were lost "
                f"({percent(damage)})."
            )
            continue
        of_arm = {}
        for name, number in found.items():
            if number.value == number.value:
                of_arm.setdefault(arms_of.arm(tables, name), []).append(f"{percent(number, 0)} with {name}")
        words = [
            f"{named(tables, cell)}: of what was lost about people that the text says nothing of, back came "
            f"{few(of_arm.get(TEXT, ['nothing that counts']))}."
        ]
        words += [f"{what}: {few(of_arm[arm])}." for arm, what in PLACEBOS.items() if arm in of_arm]
        if CONSULTS in of_arm:
            words.append(f"Repaired by what looks at the dense weights, which is no return: {few(of_arm[CONSULTS])}.")
        sentences.append(" ".join(words))
    return sentences


def _returned(tables: Tables, task: str, cell: Cell, recovery: str) -> Number:
    quantity = quantities.REPAIRED[0] if arms_of.consults(tables, recovery) else quantities.RETURNED
    return tables.numbers(arms_of.of(quantity, task), [cell], recovery)[cell]


def unsaid(tables: Tables) -> list[str]:
    """What the probe of the last layer reads of what the cell that leaves most unsaid does not say; then all cells."""
    cells = unsaid_.cells_of(tables)
    if not cells:
        return []
    quantity = unsaid_.layers(tables)[-1]
    read = tables.where_it_stands(quantity)
    chance = unsaid_.chances(tables, quantity)
    above = [cell for cell in cells if read[cell].low > chance[cell].value]
    most = max(cells, key=lambda cell: (read[cell].n, cell.id))
    return [
        f"{named(tables, most)} says {read[most].n:,} of the facts that the dense model knows in no form that it is "
        f"asked; the probe at {quantity.title} reads {percent(read[most])} of them (by chance "
        f"{100 * chance[most].value:.1f} %).",
        f"It reads more than chance from {len(above)} of the {len(cells)} cells that leave facts unsaid.",
    ]
