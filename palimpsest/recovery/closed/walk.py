"""Takes a repair through the layers of a cell, block by block: in memory are one block and the calibration activations.

The repairs of a block go to `progress`, corrections under `beside/<layer>` and replacements under `instead/<layer>`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor, nn

from palimpsest.compression.blocks import BlockRunner
from palimpsest.compression.install import install
from palimpsest.compression.layer import relative_error
from palimpsest.compression.progress import Progress
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.walk import entry
from palimpsest.compression.weights import CompressedWeight, Dense
from palimpsest.recovery.closed.cell import Cell
from palimpsest.recovery.closed.inputs import PairedStatistics, pair, target
from palimpsest.recovery.closed.methods import Repair

BESIDE, INSTEAD = "beside/", "instead/"
Solve = Callable[[str, Tensor, CompressedWeight, Statistics], Repair]  # layer, target, what the cell has, inputs


class Walk:
    """`solve` on every compressed layer of a cell.

    damping: that of the target (inputs.target) that `solve` is given; None gives it the dense weight.
    """

    def __init__(
        self, cell: Cell, solve: Solve, needs: Collection[str], progress: Progress, damping: float | None = None
    ) -> None:
        self.cell, self.solve, self.needs, self.progress, self.damping = cell, solve, needs, progress, damping
        self.checkpoint = cell.checkpoint

    def weights_only(self) -> None:
        """Without inputs."""
        for number in range(self.progress.finished(), self.checkpoint.blocks()):
            self._save(number, [self._group(number, group, self._statistics(number, group)) for group in self._groups])

    def on_dense_inputs(self, rows: Tensor, lengths: Tensor) -> None:
        """On the inputs that the layers have in the dense model."""
        runner = BlockRunner(self.checkpoint, rows, lengths)
        for number in range(self.checkpoint.blocks()):
            done = number < self.progress.finished()
            found = {} if done else {group: self._statistics(number, group) for group in self._groups}
            block = runner.load(number)
            runner.run(number, block, {group[0]: statistics for group, statistics in found.items()})
            block.to("meta")
            if not done:
                self._save(number, [self._group(number, group, found.pop(group)) for group in self._groups])

    def on_own_inputs(self, rows: Tensor, lengths: Tensor) -> None:
        """On the inputs that the layers have in the repaired model, beside those of the dense one.

        Within a block the layers that share an input are repaired after those before them: each sees what it will see.
        """
        dense_runner = BlockRunner(self.checkpoint, rows, lengths)
        runner = dense_runner.twin()
        for number in range(self.checkpoint.blocks()):
            dense_block, block = dense_runner.load(number), runner.load(number)
            for name, compressed in self.cell.layers(self._names(number)).items():
                install(self._layer(number, block, name), compressed, self.checkpoint.family.transposed)
            if number < self.progress.finished():
                self._repair(number, block, self.progress.layers(number))
            else:
                parts = []
                for group in self._groups:
                    statistics = self._statistics(number, group, PairedStatistics)
                    pair(number, (dense_runner, dense_block), (runner, block), group[0], statistics)
                    parts.append(self._group(number, group, statistics))
                    self._repair(number, block, parts[-1][0])
                self._save(number, parts)
            dense_runner.run(number, dense_block)
            runner.run(number, block)
            dense_block.to("meta")
            block.to("meta")

    @property
    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return self.checkpoint.family.groups

    def _names(self, number: int) -> list[str]:
        return [self.checkpoint.layer_name(number, layer) for layer in self.checkpoint.family.layers]

    def _layer(self, number: int, block: nn.Module, name: str) -> nn.Module:
        return block.get_submodule(name.removeprefix(self.checkpoint.layer_name(number, "")))

    def _statistics(self, number: int, group: tuple[str, ...], kind: type[Statistics] = Statistics) -> Statistics:
        names = [self.checkpoint.layer_name(number, layer) for layer in group]
        return kind(self.checkpoint.matrix_shape(names[0])[1], ", ".join(names), self.needs)

    def _group(
        self, number: int, group: tuple[str, ...], shared: Statistics
    ) -> tuple[dict[str, CompressedWeight], dict[str, Any]]:
        """The repairs of layers that share their inputs, and what is said of them."""
        repairs: dict[str, CompressedWeight] = {}
        entries: dict[str, Any] = {}
        names = [self.checkpoint.layer_name(number, layer) for layer in group]
        for name, compressed in self.cell.layers(names).items():
            weight, statistics = self.checkpoint.matrix(name), shared.layer(name)
            wanted = weight
            if self.damping is not None:
                wanted = target(weight, compressed.bias, statistics, self.damping)
            correction, replacement = self.solve(name, wanted, compressed, statistics)
            if correction is None and replacement is None:
                continue
            said = {"error_before": relative_error(wanted, bare(compressed), statistics)["error"]}
            said |= relative_error(wanted, bare(replacement or compressed, correction), statistics)
            if correction is not None:
                correction = correction.to(weight.dtype)
                repairs[BESIDE + name] = correction
                entries[BESIDE + name] = correction.metadata() | said
            if replacement is not None:
                repairs[INSTEAD + name] = replacement
                entries[INSTEAD + name] = entry(weight, replacement, statistics, self.cell.level(name)) | said
        return repairs, entries

    def _repair(self, number: int, block: nn.Module, repairs: Mapping[str, CompressedWeight]) -> None:
        """Give layers that already have what the cell stands for their repaired weights."""
        for key in sorted(repairs, reverse=True):  # what stands instead, before what stands beside it
            layer = self._layer(number, block, key.partition("/")[2])
            weight = repairs[key].dense().to(layer.weight.dtype)
            weight = weight.T.contiguous() if self.checkpoint.family.transposed else weight
            layer.weight.data = weight if key.startswith(INSTEAD) else layer.weight.data + weight

    def _save(self, number: int, parts: list[tuple[dict[str, CompressedWeight], dict[str, Any]]]) -> None:
        repairs = {key: part for found, _ in parts for key, part in found.items()}
        self.progress.save(number, repairs, {key: said for _, entries in parts for key, said in entries.items()})


def bare(compressed: CompressedWeight, correction: CompressedWeight | None = None) -> Dense:
    """The matrix without its bias, which the target has taken into account, and with the correction beside it."""
    dense = compressed.dense().float()
    return Dense(dense if correction is None else dense + correction.dense().float())
