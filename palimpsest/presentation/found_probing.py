"""What probes found, in sentences: what the dense model holds, which probes lose most, and by which algorithms."""

from __future__ import annotations

from dataclasses import replace

from palimpsest.analysis.siblings import PLAIN
from palimpsest.grid import Cell
from palimpsest.presentation import probes_of, quantities
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.figures import probe_nli, selective
from palimpsest.presentation.level_names import level_title, severity
from palimpsest.presentation.probes_of import Reading
from palimpsest.presentation.summary import few, named, percent, points

MOST = 3  # that are named first and last


def still_held(tables: Tables) -> list[str]:
    """What the probes of every cell read from the dense model, their floors, and the cells they read least from.

    Of many probes no sentence each. Then of how many probes the dense model is read better than random weights.
    """
    readings = probes_of.of_all(tables)
    few_enough = readings if len(readings) <= MOST else []
    return [sentence for reading in few_enough for sentence in _read(tables, reading)] + _over_floors(tables)


def fallen(tables: Tables) -> list[str]:
    """At every algorithm's hardest rate the probes that lose most and least, with intervals."""
    sentences = []
    for model in tables.models:
        changes = _changes(tables, model)
        cells = list(dict.fromkeys(cell for found in changes.values() for cell in found))
        for label in dict.fromkeys(cell.label for cell in cells):
            cell = max((cell for cell in cells if cell.label == label), key=lambda cell: severity(cell.level))
            found = [(reading, changes[reading][cell]) for reading in changes if cell in changes[reading]]
            found.sort(key=lambda pair: (pair[1].value, pair[0].task))
            if len(found) < 2:
                continue
            lost = [pair for pair in found if pair[1].high < 0]
            most = ", ".join(f"{reading.title} {points(number)}" for reading, number in found[:-1][:MOST])
            kept, least = found[-1]
            sentences.append(
                f"{named(tables, cell)}: {len(lost)} of {len(found)} probes read less than from the dense model "
                f"(intervals without zero); most is lost of {most}, and least of {kept.title}, {points(least)}."
            )
    return sentences


def algorithms(tables: Tables) -> list[str]:
    """At each rate whether an algorithm loses less than plain SVD: on how many probes, and on which not."""
    sentences = []
    for model in tables.models:
        found = _beside(tables, model, "minus_svd")
        for cell in sorted(dict.fromkeys(cell for some in found.values() for cell in some),
                           key=lambda cell: (severity(cell.level), tables.cells.index(cell))):  # fmt: skip
            mine = {reading: numbers[cell] for reading, numbers in found.items() if cell in numbers}
            better = [reading for reading, number in mine.items() if number.low > 0]
            worse = sorted((reading for reading, number in mine.items() if number.high < 0),
                           key=lambda reading: mine[reading].value)  # fmt: skip
            where = level_title(cell.level) + f" on {model}" * (len(tables.models) > 1)
            words = (
                f"At {where}, {cell.label} loses less than "
                f"{PLAIN} on {len(better)} of {len(mine)} probes, and more on {len(worse)} (intervals without zero)"
            )
            if worse:
                words += ": " + few(f"{reading.title} {points(mine[reading])}" for reading in worse)
            sentences.append(words + _inference(tables, cell) + ".")
    return sentences


def with_inference(tables: Tables) -> list[str]:
    """The rank correlation of what probes and entailment lose over the cells."""
    sentences = []
    for model, group, task in probe_nli.panels_of(tables):
        found = probe_nli.rho(tables, model, group, task)
        if found is None or found.value != found.value:
            continue
        verdict = "they fall together" if found.low > 0 else "they fall apart" if found.high < 0 else (
            "these cells cannot tell whether they fall together"
        )  # fmt: skip
        ends = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
        sentences.append(
            f"Over {found.n} cells of {model} the changes of {group.replace('_', ' ')} probes and of "
            f"{quantities.inference(tables, task).title} have Spearman's ρ {ends}: {verdict}."
        )
    return sentences


def allocated(tables: Tables) -> list[str]:
    """At equal parameters: the allocation that keeps most, the one that keeps least, against uniform."""
    sentences = []
    for block in selective.shown(tables):
        measure = selective.measures(tables, block)[0]
        if measure is None:
            continue
        quantity = measure[0]
        equal = [(cell, name) for cell, name, same in
                 list(zip(block.cells, block.names, block.equal, strict=True))[1:] if same]  # fmt: skip
        if not equal:
            continue
        numbers = tables.numbers(quantity, [cell for cell, _ in equal])
        order = sorted(equal, key=lambda pair: -numbers[pair[0]].value)
        better = sum(number.low > 0 for number in numbers.values())
        worse = sum(number.high < 0 for number in numbers.values())
        own = Quantity(quantity.title, quantity.task, "acc", subset=quantity.subset)
        own = own if tables.has(own) else replace(own, metric="exact_match")
        uniform = tables.numbers(own, block.cells[:1])[block.cells[0]]
        words = f" keeps {quantity.title} {percent(uniform)} where every matrix has the level;"
        best, last = order[0], order[-1]
        extremes = f"most with {best[1]}, {points(numbers[best[0]])}"
        if last != best:
            extremes += f", least with {last[1]}, {points(numbers[last[0]])}"
        sentences.append(
            f"{block.title}{words} of {len(equal)} other ways to spend as much "
            f"{better} keep more and {worse} less (intervals without zero), {extremes}."
        )
    return sentences


def _read(tables: Tables, reading: Reading) -> list[str]:
    dense = tables.dense(reading.model)
    layer, cells = probes_of.best_layer(tables, reading), probes_of.cells(tables, reading)
    found = probes_of.numbers(tables, reading, layer, cells)
    if found[dense].value != found[dense].value:
        return [f"The study has too few people for the probe of {reading.title}."]
    beside = []
    if floor := probes_of.floor(tables, reading, layer):
        beside.append(f"random weights {percent(floor)}")
    if probes_of.has(tables, reading, "control_acc", "dense"):
        control = probes_of.numbers(tables, reading, layer, [dense], "control_acc")[dense]
        beside.append(f"control task {percent(control)}")
    floors = f" ({', '.join(beside)})" if beside else ""
    sentences = [
        f"From layer {layer} of {reading.model}, dense, the probe reads {reading.title} with {percent(found[dense])} "
        f"accuracy{floors}."
    ]
    worst = sorted((cell for cell in cells if not cell.is_dense), key=lambda cell: (found[cell].value, cell.id))[:MOST]
    if worst:
        least = ", ".join(f"{named(tables, cell)} {percent(found[cell])}" for cell in worst)
        sentences.append(f"It reads least from {least}.")
    return sentences


def _over_floors(tables: Tables) -> list[str]:
    """Which probes learned nothing from training: random weights are read as well."""
    sentences = []
    for model in tables.models:
        pairs = {}
        for reading in probes_of.readings(tables, model):
            layer, dense = probes_of.best_layer(tables, reading), tables.dense(model)
            if floor := probes_of.floor(tables, reading, layer):
                pairs[reading] = probes_of.numbers(tables, reading, layer, [dense])[dense], floor
        if len(pairs) < 2:
            continue
        same = [reading.title for reading, (number, floor) in pairs.items() if number.low <= floor.high]
        words = f"; not by {', '.join(same)}" if same else ""
        sentences.append(
            f"{len(pairs) - len(same)} of {len(pairs)} probes read more from {model}, dense, than from random weights "
            f"(intervals apart){words}."
        )
    return sentences


def _changes(tables: Tables, model: str) -> dict[Reading, dict[Cell, Number]]:
    return _beside(tables, model, "minus_dense")


def _beside(tables: Tables, model: str, suffix: str) -> dict[Reading, dict[Cell, Number]]:
    """probe -> low-rank cell -> its score at the layer read best, minus another's: paired."""
    found = {}
    for reading in probes_of.readings(tables, model):
        metric = f"{reading.score}_{suffix}"
        if not probes_of.has(tables, reading, metric):
            continue
        layer, cells = probes_of.best_layer(tables, reading), probes_of.low_rank(tables, reading)
        cells = [cell for cell in cells if cell in probes_of.having(tables, reading, metric)]
        found[reading] = probes_of.numbers(tables, reading, layer, cells, metric)
    return found


def _inference(tables: Tables, cell: Cell) -> str:
    """What the cell keeps more or less of than plain SVD, of the first task of entailment or classification."""
    for quantity, _ in quantities.classified(tables):
        beside = Quantity(quantity.title, quantity.task, "minus_svd", subset=quantity.subset)
        if tables.has(beside) and cell in (there := tables.where_it_stands(beside)):
            return f"; {quantity.title} {points(there[cell])}"
    return ""
