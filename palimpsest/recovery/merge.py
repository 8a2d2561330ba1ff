"""An adapter put into the weights of its cell, in the form that compression gave them.

Beside the weights an adapter costs bytes and time at every token. Put into them it costs neither, if they stay what
they were: pruned weights with their mask, integers on a grid, two factors of a rank. What of the adapter that takes
away is said for each matrix ("merging_error").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from palimpsest.calibration import read_rows
from palimpsest.compression import declarations
from palimpsest.compression.layer import relative_error
from palimpsest.compression.progress import progress
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import (
    CompressedWeight,
    Dense,
    LowRank,
    Sparse,
    SparseQuantized,
    Whole,
)
from palimpsest.provenance import PalimpsestError, folder_digest, read_json, verify_folder
from palimpsest.recovery import registry
from palimpsest.recovery.adapters import CELL, RECOVERY, WEIGHTS
from palimpsest.recovery.closed.cell import Cell
from palimpsest.recovery.closed.methods import Repair
from palimpsest.recovery.closed.walk import Walk, bare
from palimpsest.recovery.closed.write import entry_of, write
from palimpsest.recovery.refit import PRUNED, QUANTIZED, refit

FORMS = {"mask": ("pruned", PRUNED), "grid": ("quantized", QUANTIZED), "rank": ("low rank", (LowRank,))}


def merge(
    cell_folder: Path | str,
    output_folder: Path | str,
    *,
    options: Mapping[str, Any],
    of: Mapping[str, Path | str],
    calibration_folder: Path | str | None = None,
) -> dict[str, Any]:
    """Put the adapter that `of` names (its name and folder) into the weights of the cell in `cell_folder`.

    `keep` says what of the compression the merged matrices keep: mask (zeros stay zero), grid (rounded to nearest
    again, same bits and groups, scales fitted anew), rank (the leading directions of the sum, by an SVD), auto (what
    each matrix has; one that the cell left dense stays dense), or none (they become dense: the compression is given up,
    and their bytes say so). Matrices without an adapter are left as they are.
    calibration_folder: rows of text; a rank is then kept in the directions in which the sum answers most to the inputs
    that the layer has in the dense model (whitened SVD), rather than in those of the matrix.
    Returns what it writes to `recovery.json`; its "merging_error" is ‖M − M′‖² / ‖M‖² (of answers to those inputs where
    there is a calibration) with M = W_c + BA and M′ what is left of it. Raises PalimpsestError on anything that a
    person must put right.
    """
    declared = registry.declared()["merge"]
    complete = declarations.complete("recovery merge", declared.options, declared.ranges, options)
    if len(of) != 1:
        raise PalimpsestError(
            f"recovery merge: of: {', '.join(of) or 'none'}: {len(of)} recoveries; it takes one, e.g. of: [lora-r4]."
        )
    [(name, adapter)] = of.items()
    made = _check(name, Path(adapter), Path(cell_folder))
    merged = _merged(name, Path(adapter))
    whole = Cell(Path(adapter) / CELL if (Path(adapter) / CELL).is_dir() else cell_folder, also=merged)
    if lacking := sorted(merged.keys() - set(whole.names)):
        raise PalimpsestError(
            f"recovery merge: {name} changes {lacking[0]}, which is no matrix of a block. Name modules of a block only."
        )

    rows = lengths = calibration = None
    if calibration_folder is not None:
        rows, lengths, calibration = read_rows(calibration_folder)

    def solve(layer: str, _: Tensor, compressed: CompressedWeight, stats: Statistics) -> Repair:
        if layer not in merged:
            return Repair()
        form = _form(layer, merged[layer], compressed, complete["keep"])
        refitted = refit(merged[layer], form, stats)
        apart = stats.layer(f"{layer} with its adapter")
        stats.record["merging_error"] = relative_error(merged[layer], bare(refitted), apart)["error"]
        return Repair(replacement=refitted)

    record = {
        "method": "merge",
        "options": complete,
        "version": declared.version,
        "of": [{"name": name} | entry_of(Path(adapter), Path(output_folder))],
        # Which directions of a sum are kept is then told by the inputs of the dense model.
        "consults_dense": made["consults_dense"] or calibration_folder is not None,
        "calibration": calibration,
    }
    with progress(Path(output_folder), record, None) as done:
        if rows is None:
            Walk(whole, solve, (), done).weights_only()
        else:
            Walk(whole, solve, ("gram", "input_means"), done).on_dense_inputs(rows, lengths)
        return write(
            Path(output_folder), whole, done, record | {"cell": entry_of(Path(cell_folder), Path(output_folder))}
        )


def _check(name: str, adapter: Path, cell: Path) -> dict[str, Any]:
    """`recovery.json` of an adapter of this cell that can be put into weights."""
    verify_folder(adapter)
    made = read_json(adapter / RECOVERY)
    if made["cell"]["digest"] != (found := folder_digest(cell)):
        raise PalimpsestError(
            f"recovery merge: {name} was made on another cell: on {made['cell']['digest'][:12]}…, and {cell} is "
            f"{found[:12]}…. Delete {adapter} and run the study again."
        )
    if made["method"] not in (mergeable := registry.declared()["merge"].made_of):
        raise PalimpsestError(
            f"recovery merge: {name} is a {made['method']}: it stands before the input or in no weights, so there is "
            f"nothing to put into them. Name one of {', '.join(mergeable)}."
        )
    if not (adapter / WEIGHTS).is_file():
        raise PalimpsestError(f"recovery merge: {name} has no adapter: {adapter / WEIGHTS} is missing.")
    return {"consults_dense": registry.declared()[made["method"]].consults_dense} | made


def _merged(name: str, adapter: Path) -> dict[str, Float[Tensor, "out in"]]:
    """The matrices W_c + BA (or what the adapter makes of W_c) by layer, as peft merges them."""
    from palimpsest.loading import load

    attached, _ = load(adapter)
    assert isinstance(attached, PeftModel)
    config = attached.active_peft_config
    if getattr(config, "bias", "none") != "none" or getattr(config, "modules_to_save", None):
        raise PalimpsestError(
            f"recovery merge: {name} trains biases or whole modules beside its matrices; only matrices are merged."
        )
    adapted = [
        layer for layer, module in attached.get_base_model().named_modules() if isinstance(module, BaseTunerLayer)
    ]
    try:
        model = attached.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise PalimpsestError(f"recovery merge: {name} does not merge: {error}") from error
    found = {layer: model.get_submodule(layer) for layer in adapted}
    return {layer: _matrix(module).detach() for layer, module in found.items()}


def _matrix(module: torch.nn.Module) -> Float[Tensor, "out in"]:
    return module.weight if isinstance(module, torch.nn.Linear) else module.weight.T  # Conv1D has it (in, out)


def _form(layer: str, merged: Tensor, compressed: CompressedWeight, keep: str) -> CompressedWeight:
    """The compressed matrix whose form the merged one takes."""
    if keep == "none":
        return Whole(merged).beside(bias=compressed.bias)
    if keep != "auto" and not isinstance(compressed, (Dense, *FORMS[keep][1])):
        fitting = [other for other, (_, kinds) in FORMS.items() if isinstance(compressed, kinds)]
        raise PalimpsestError(
            f"recovery merge: keep: {keep} is for {FORMS[keep][0]} matrices; {layer} is {compressed.kind}. "
            f"Write keep: {fitting[0] if fitting else 'none'}, or keep: auto."
        )
    if isinstance(compressed, SparseQuantized):
        if keep == "mask":
            return Sparse(merged, compressed.kept, compressed.n_of_m).beside(compressed.input_scale, compressed.bias)
        if keep == "grid":
            return compressed.quantized.beside(compressed.input_scale, compressed.bias)
    return compressed
