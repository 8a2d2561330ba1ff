"""The walk: takes methods through a model, block by block, and writes the artifacts of cells.

Weights stream from the checkpoint, and what a method keeps of them to the artifact: in memory are one block and the
activations of the calibration rows. Layers that share an input share its statistics and their factorization, and so do
the levels of a sweep. A method that looks at weights only needs no block at all, and no transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from palimpsest import levels
from palimpsest.compression import registry, structured
from palimpsest.compression.allocator import return_large_pieces
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.install import install
from palimpsest.compression.layer import compress_layer, relative_error
from palimpsest.compression.progress import Entries, Progress
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight, Dense

Layers = dict[str, CompressedWeight]


@dataclass(frozen=True)
class Recipe:
    """What becomes of each layer: one cell's method with all its options, at one level or at one for each layer."""

    method: str
    level: levels.Level
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    by_layer: Mapping[str, levels.Level] | None = None  # from an allocation; a layer that is not named stays dense

    def level_of(self, layer: str) -> levels.Level | None:
        """The level of a layer; None leaves it dense."""
        return self.level if self.by_layer is None else self.by_layer.get(layer)

    @property
    def true_sequential(self) -> bool:
        """Whether each group of a block's matrices sees those before it compressed."""
        return bool(self.options.get("true_sequential"))


class Walk:
    """Takes `recipes` through a checkpoint; each finished block goes to the progress of its recipe."""

    def __init__(self, checkpoint: Checkpoint, recipes: Sequence[Recipe], progresses: Sequence[Progress]) -> None:
        self.checkpoint, self.recipes, self.progresses = checkpoint, recipes, progresses
        self.needs = {need for recipe in recipes for need in registry.declaration(recipe.method).needs}
        self.fisher: Mapping[str, Tensor] = {}
        return_large_pieces()

    def weights_only(self) -> None:
        """Compress every layer without looking at inputs."""
        for number in range(self.checkpoint.blocks()):
            statistics = dict(self._statistics(number, set()))
            for recipe, progress in self._unfinished(number):
                layers, entries = self._compress_block(number, recipe, statistics, last=False)
                progress.save(number, layers, entries)

    def with_inputs(self, rows: Tensor, lengths: Tensor, propagate: bool) -> None:
        """Compress block by block; with `propagate` a block's inputs come from the compressed blocks before it.

        Then there is one recipe: the inputs of its blocks are its own.
        """
        from palimpsest.compression.blocks import BlockRunner

        blocks = self.checkpoint.blocks()
        if all(progress.finished() == blocks for progress in self.progresses):
            return
        runner = BlockRunner(self.checkpoint, rows, lengths)  # checks the rows, too
        if "fisher" in self.needs:
            from palimpsest.compression.fisher import fisher_information

            self.fisher = fisher_information(self.checkpoint, rows, lengths)
        for number in range(blocks):
            block = runner.load(number)
            if not self._unfinished(number):
                if propagate:
                    self._install(number, block, self.progresses[0].layers(number))
                runner.run(number, block)
            elif any(recipe.true_sequential for recipe in self.recipes):
                self._sequential(number, block, runner, propagate)
            else:
                self._at_once(number, block, runner, propagate)
            block.to("meta")

    def _at_once(self, number: int, block: nn.Module, runner: Any, propagate: bool) -> None:
        """All groups of a block from the inputs that they have in the dense block."""
        statistics = dict(self._statistics(number, self.needs))
        runner.run(number, block, {group[0]: found for group, found in statistics.items()}, advance=not propagate)
        unfinished = self._unfinished(number)
        for recipe, progress in unfinished:
            last = progress is unfinished[-1][1]
            layers, entries = self._compress_block(number, recipe, statistics, last)
            progress.save(number, layers, entries)
        del statistics
        if propagate:
            self._install(number, block, layers)
            runner.run(number, block)

    def _sequential(self, number: int, block: nn.Module, runner: Any, propagate: bool) -> None:
        """Group after group, each from the inputs that it has behind the compressed groups before it."""
        [(recipe, progress)] = self._unfinished(number)
        layers, entries = {}, {}
        for group, statistics in self._statistics(number, self.needs):
            runner.run(number, block, {group[0]: statistics}, advance=False)
            found, said = self._compress_group(number, recipe, group, statistics)
            self._install(number, block, found)
            layers |= found
            entries |= said
        progress.save(number, layers, entries)
        if not propagate:
            block = runner.load(number)
        runner.run(number, block)

    def _unfinished(self, number: int) -> list[tuple[Recipe, Progress]]:
        pairs = zip(self.recipes, self.progresses, strict=True)
        return [(recipe, progress) for recipe, progress in pairs if progress.finished() <= number]

    def _statistics(self, number: int, needs: set[str]) -> Iterator[tuple[tuple[str, ...], Statistics]]:
        for group in self.checkpoint.family.groups:
            names = [self.checkpoint.layer_name(number, layer) for layer in group]
            width = self.checkpoint.matrix_shape(names[0])[1]
            yield group, Statistics(width, ", ".join(names), needs)

    def _compress_block(
        self, number: int, recipe: Recipe, statistics: dict[tuple[str, ...], Statistics], last: bool
    ) -> tuple[Layers, Entries]:
        """All layers of a block. For the last recipe statistics are let go as soon as they have been used."""
        layers, entries = {}, {}
        if registry.declaration(recipe.method).coupled:
            for name, *done in structured.compress_block(self.checkpoint, number, recipe, statistics):
                layers[name], entries[name] = done[1], entry(*done)
            return layers, entries
        for group in list(statistics):
            shared = statistics.pop(group) if last else statistics[group]
            found, said = self._compress_group(number, recipe, group, shared)
            layers |= found
            entries |= said
        return layers, entries

    def _compress_group(
        self, number: int, recipe: Recipe, group: tuple[str, ...], shared: Statistics
    ) -> tuple[Layers, Entries]:
        layers, entries = {}, {}
        for layer in group:
            name = self.checkpoint.layer_name(number, layer)
            weight = self.checkpoint.matrix(name)
            statistics = shared.layer(name, self.fisher.get(name))
            level = recipe.level_of(name)
            if level is None:
                layers[name] = Dense(weight)
            else:
                layers[name] = compress_layer(
                    name, weight, statistics, recipe.method, level, recipe.seed, recipe.options
                )
            entries[name] = entry(weight, layers[name], statistics, level)
        return layers, entries

    def _install(self, number: int, block: nn.Module, layers: Layers) -> None:
        """Put the compressed layers of a block in the place of its dense ones."""
        start = self.checkpoint.layer_name(number, "")
        for name, compressed in layers.items():
            layer = block.get_submodule(name.removeprefix(start))
            install(layer, compressed, self.checkpoint.family.transposed)


def entry(
    weight: Tensor, compressed: CompressedWeight, statistics: Statistics, level: levels.Level | None
) -> dict[str, Any]:
    """What compression.json says of a layer."""
    return compressed.metadata() | {
        "level": "dense" if level is None else level.text,
        "nbytes": compressed.nbytes,
        "achieved": compressed.achieved(),
        **relative_error(weight, compressed, statistics),
        **statistics.record,
    }
