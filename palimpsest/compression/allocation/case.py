"""What an allocation decides on, and what it may look at: one dense checkpoint at one level."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Any, TypeVar

from jaxtyping import Integer
from torch import Tensor

from palimpsest.compression import registry as compression
from palimpsest.compression.allocation import registry
from palimpsest.compression.allocation.budget import Budget, Matrix
from palimpsest.compression.allocation.encoder_losses import EncoderLosses
from palimpsest.compression.allocation.losses import Losses
from palimpsest.compression.allocation.memory import Memory
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.layer import compress_layer
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight
from palimpsest.levels import Level
from palimpsest.provenance import PalimpsestError

T = TypeVar("T")


class Case:
    """One checkpoint at one level. `measured` is for what the allocation saw; it is written beside its decision.

    rows, lengths: the calibration; None for an allocation that looks at none.
    measured_with: the method that shows what matrices lose; None takes the default for this kind of level.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        level: Level,
        *,
        rows: Integer[Tensor, "rows length"] | None = None,
        lengths: Integer[Tensor, " rows"] | None = None,
        measured_with: str | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.checkpoint, self.level = checkpoint, level
        self.rows, self.lengths = rows, lengths
        self.measured_with = registry.measure_for(level, measured_with)
        self.memory = memory or Memory()
        self.measured: dict[str, Any] = {}
        self.matrices = [
            Matrix(name, number, module, *checkpoint.matrix_shape(name))
            for number in range(checkpoint.blocks())
            for module in checkpoint.family.layers
            for name in [checkpoint.layer_name(number, module)]
        ]

    @cached_property
    def budget(self) -> Budget:
        """What levels cost, and what may be spent. Raises PalimpsestError for a level that has no others beside it."""
        return Budget(self.matrices, self.level)

    @cached_property
    def losses(self) -> Losses:
        """The whole model, to see what compressed matrices cost it."""
        measured = Losses if self.checkpoint.family.causal else EncoderLosses
        return measured(self.checkpoint, self.rows, self.lengths)

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """`compute()`, which is JSON-able; a search that was killed and started again does not compute it twice."""
        return self.memory.once(key, compute)

    def layers(self, needs: Collection[str]) -> Iterator[tuple[Matrix, Tensor, Statistics]]:
        """Each matrix with its weight (out, in) and the statistics of its inputs in the dense model.

        Block by block: what is not kept of a block is gone with the next.
        """
        by_name = {matrix.name: matrix for matrix in self.matrices}
        fisher, runner = {}, None
        if needs:
            from palimpsest.compression.blocks import BlockRunner

            if "fisher" in needs:
                from palimpsest.compression.fisher import fisher_information

                fisher = fisher_information(self.checkpoint, self.rows, self.lengths)
            runner = BlockRunner(self.checkpoint, self.rows, self.lengths)
        for number in range(self.checkpoint.blocks()):
            groups = [
                [by_name[self.checkpoint.layer_name(number, module)] for module in group]
                for group in self.checkpoint.family.groups
            ]
            shared = [
                Statistics(group[0].columns, ", ".join(matrix.name for matrix in group), needs) for group in groups
            ]
            if runner is not None:
                inputs = {group[0].module: statistics for group, statistics in zip(groups, shared, strict=True)}
                runner.run(number, runner.load(number), inputs)
            for group, statistics in zip(groups, shared, strict=True):
                for matrix in group:
                    own = statistics.layer(matrix.name, fisher.get(matrix.name))
                    yield matrix, self.checkpoint.matrix(matrix.name), own

    @property
    def measuring_needs(self) -> set[str]:
        """The statistics that the measuring method needs."""
        return set(compression.declaration(self.measured_with).needs)

    def compressed(self, matrix: Matrix, weight: Tensor, statistics: Statistics, level: Level) -> CompressedWeight:
        """A matrix as the measuring method leaves it; of a joint level that it does not take, the pruning alone."""
        measured = registry.measured_level(level, self.measured_with)
        if measured is None:
            raise PalimpsestError(
                f"{self.measured_with} has no level {level.text!r}, so it cannot show what matrices lose at it: name "
                "another method as measured_with."
            )
        return compress_layer(matrix.name, weight, statistics, self.measured_with, measured)
