"""What became of the representations, in sentences."""

from __future__ import annotations

from palimpsest.grid import Cell
from palimpsest.presentation import represented
from palimpsest.presentation.data import Number, Tables

MOST_CELLS = 4  # of which a sentence speaks: the last ones, which are the harshest of their labels


def found(tables: Tables) -> list[str]:
    """Sentences on CKA, on ranks and on the matrix that matters most; none of what the study did not compare."""
    return [*_alike(tables), *_ranks(tables), *_matters(tables)]


def _alike(tables: Tables) -> list[str]:
    cells = [cell for cell in represented.cells_of(tables, "cka") if not cell.is_dense]
    compressed = [cell for cell in cells if cell.label != represented.RANDOM]
    parts = []
    for cell in _harshest(compressed):
        own = _same_layers(tables, cell)
        last, least = max(own), min(own, key=lambda layer: own[layer].value)
        words = f"{_name(tables, cell)} {_with_interval(own[last])} at the last layer"
        parts.append(words if least == last else f"{words}, least at layer {least} ({own[least].value:.2f})")
    twins = [_same_layers(tables, cell) for cell in cells if cell.label == represented.RANDOM]
    floor = f"; random weights {twins[0][max(twins[0])].value:.2f}" if twins else ""
    return [f"Likeness to the same layer of the dense model (linear CKA): {'; '.join(parts)}{floor}."] if parts else []


def _same_layers(tables: Tables, cell: Cell) -> dict[int, Number]:
    numbers = represented.numbers(tables, cell, "cka", "cka", represented.texts_of(tables, "cka"))
    return {int(layer): number for (layer, part), number in numbers.items() if part == f"dense layer {layer}"}


def _ranks(tables: Tables) -> list[str]:
    sentences = []
    for cell in represented.cells_of(tables, "weight"):
        if not cell.is_dense:
            continue
        weight, output, inputs = (represented.mean_share(tables, cell, part) for part in ("weight", "output", "input"))
        sentences.append(
            f"Effective rank in the dense model {cell.model}, mean over all matrices: {weight:.0f} % of the full rank "
            f"in weights, {output:.0f} % in what comes out of them, {inputs:.0f} % in what goes in."
        )
    return sentences


def _matters(tables: Tables) -> list[str]:
    sentences = []
    for cell in _harshest(represented.cells_of(tables, "sensitivity", "sensitivity_kl")):
        task = represented.texts_of(tables, "sensitivity")
        numbers = represented.numbers(tables, cell, "sensitivity", "sensitivity_kl", task)
        together = numbers.pop(("all", "all"))
        block, matrix = max(numbers, key=lambda key: numbers[key].value)
        sentences.append(
            f"Of {_name(tables, cell)}, {matrix} of block {block} matters most: alone in the dense model it moves "
            f"predictions by {_with_interval(numbers[block, matrix], 3)} nats; the sum of all {len(numbers)} alone is "
            f"{sum(number.value for number in numbers.values()):.3f}, and all together cost "
            f"{_with_interval(together, 3)}."
        )
    return sentences


def _harshest(cells: list[Cell]) -> list[Cell]:
    """The last cell of each label."""
    return list({(cell.model, cell.label): cell for cell in cells}.values())[:MOST_CELLS]


def _name(tables: Tables, cell: Cell) -> str:
    return represented.titles(tables, [cell])[0]


def _with_interval(number: Number, decimals: int = 2) -> str:
    value, low, high = (f"{each:.{decimals}f}".replace("-", "−") for each in (number.value, number.low, number.high))
    return f"{value} [{low}, {high}]"
