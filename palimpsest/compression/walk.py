"""The walk: takes one method through a model, block by block, and writes the artifact of the cell.

Weights stream from the checkpoint, and what the method keeps of them to the artifact: in memory are one block and the
activations of the calibration rows. Layers that share an input share its statistics and their factorization. A method
that looks at weights only needs no block at all, and no transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from palimpsest import levels
from palimpsest.compression import artifact, registry
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.layer import compress_layer, relative_error
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError

DENSE = "dense"  # the control: no method, no layers


class Walk:
    """One method at one level; each compressed layer goes to `keep` at once, what is said of it to `entries`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        method: str,
        level: levels.Level,
        seed: int,
        options: Mapping[str, Any],
        keep: Callable[[str, CompressedWeight], None],
    ) -> None:
        self.checkpoint, self.method, self.level, self.seed, self.options = checkpoint, method, level, seed, options
        self.keep = keep
        self.entries: dict[str, dict[str, Any]] = {}

    def weights_only(self) -> None:
        """Compress every layer without looking at inputs."""
        for number in range(self.checkpoint.blocks()):
            for layer in self.checkpoint.family.layers:
                self._compress(number, layer, None)

    def with_inputs(self, rows: Tensor, lengths: Tensor, propagate: bool) -> None:
        """Compress block by block; with `propagate` a block's inputs come from the compressed blocks before it."""
        from palimpsest.compression.blocks import BlockRunner

        family, blocks = self.checkpoint.family, self.checkpoint.blocks()
        runner = BlockRunner(self.checkpoint, rows, lengths)
        for number in range(blocks):
            block = runner.load(number)
            statistics = {group: self._statistics(number, group) for group in family.groups}
            runner.run(number, block, {group[0]: found for group, found in statistics.items()}, advance=not propagate)
            for group in family.groups:
                shared = statistics.pop(group)
                for layer in group:
                    weight = self._compress(number, layer, shared).dense().float()
                    block.get_submodule(layer).weight.data = weight.T.contiguous() if family.transposed else weight
            if propagate and number < blocks - 1:
                runner.run(number, block)
            block.to("meta")

    def _statistics(self, number: int, group: tuple[str, ...]) -> Statistics:
        names = [self.checkpoint.layer_name(number, layer) for layer in group]
        return Statistics(self.checkpoint.matrix(names[0]).shape[1], ", ".join(names))

    def _compress(self, number: int, layer: str, statistics: Statistics | None) -> CompressedWeight:
        name = self.checkpoint.layer_name(number, layer)
        weight = self.checkpoint.matrix(name)
        compressed = compress_layer(name, weight, statistics, self.method, self.level, self.seed, self.options)
        self.keep(name, compressed)
        self.entries[name] = compressed.metadata() | {
            "nbytes": compressed.nbytes,
            "achieved": compressed.achieved(),
            "error": relative_error(weight, compressed, statistics),
            "error_on": "inputs" if statistics else "weights",
            **(statistics.record if statistics else {}),
        }
        return compressed


def compress(
    model_folder: Path | str,
    output_folder: Path | str,
    *,
    method: str,
    level: str,
    label: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    calibration_folder: Path | str | None = None,
    propagate: bool | None = None,
) -> None:
    """Compress the dense checkpoint in `model_folder` and write the cell's artifact to `output_folder`.

    method "dense" with level "full" writes the control: the same format with no layers. `propagate` None takes the
    method's own choice. Raises PalimpsestError on anything that a person must put right; then nothing is written.
    """
    output, parsed = Path(output_folder), levels.parse(level)
    complete = _check(method, parsed, options or {}, calibration_folder)
    checkpoint = Checkpoint(model_folder)
    record: dict[str, Any] = {
        "method": method,
        "method_version": "1" if method == DENSE else registry.declaration(method).version,
        "label": label or method,
        "level": parsed.text,
        "seed": seed,
        "options": complete,
        "calibration": None,
        "propagate": None,
        "base": artifact.base_entry(checkpoint.folder, output, checkpoint.digest),
        "model_type": checkpoint.config.get("model_type"),
    }
    with artifact.writing(output) as writer:
        walk = Walk(checkpoint, method, parsed, seed, complete, writer.add)
        if method != DENSE and calibration_folder is None:
            walk.weights_only()
        elif method != DENSE:
            from palimpsest.calibration import read_rows

            rows, lengths, record["calibration"] = read_rows(calibration_folder)
            record["propagate"] = registry.declaration(method).propagate if propagate is None else propagate
            walk.with_inputs(rows, lengths, record["propagate"])
        summary = {"layers": walk.entries, "achieved": achieved(walk.entries), "sizes": sizes(checkpoint, walk.entries)}
        writer.record = record | summary


def _check(
    method: str, level: levels.Level, options: Mapping[str, Any], calibration: Path | str | None
) -> dict[str, Any]:
    """All options of the method, after checking what can be checked before the checkpoint is opened."""
    if method == DENSE:
        if level.syntax != "full" or options:
            raise PalimpsestError(
                f"The dense control has the level 'full' and no options, not {level.text!r} and {dict(options)}."
            )
        return {}
    declaration = registry.declaration(method)
    if declaration.needs and calibration is None:
        raise PalimpsestError(
            f"{method} needs the inputs of each layer ({', '.join(declaration.needs)}): give it a calibration, "
            f'e.g. "{method}: {{calibration: generic}}".'
        )
    return registry.complete_options(method, options)


def achieved(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The level of the whole cell: means over its layers, weighted by their numbers of weights."""
    total = sum(prod(entry["shape"]) for entry in entries.values())
    sums: dict[str, float] = {}
    for entry in entries.values():
        for name, value in entry["achieved"].items():
            sums[name] = sums.get(name, 0.0) + value * prod(entry["shape"])
    sums.pop("rank", None)
    return {name: value / total for name, value in sums.items()}


def sizes(checkpoint: Checkpoint, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes that are stored, bytes of the dense tensors still referred to, parameters in all and those compressed."""
    stored = {layer: entry for layer, entry in entries.items() if entry["kind"] != "dense"}
    counts = {name: checkpoint.size(name) for name in checkpoint.names}
    replaced = {checkpoint.tensor_name(layer) for layer in stored}
    payload, weights = (
        sum(entry["nbytes"] for entry in stored.values()),
        sum(prod(entry["shape"]) for entry in stored.values()),
    )
    return {
        "payload_bytes": payload,
        "dense_bytes_referred": sum(nbytes for name, (_, nbytes) in counts.items() if name not in replaced),
        "parameters": sum(count for count, _ in counts.values()),
        "compressed_parameters": weights,
        "bits_per_weight": 8 * payload / weights if weights else None,
    }
