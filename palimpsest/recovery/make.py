"""Make a recovery of a cell: from text, from the inputs of its layers, or from other recoveries of the same cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palimpsest.provenance import PalimpsestError
from palimpsest.recovery import registry

FINE_TUNING = ("seed", "steps", "batch_size", "learning_rate", "checkpoint_minutes")  # what it takes of `training`


def recover(
    cell_folder: Path | str,
    output_folder: Path | str,
    *,
    method: str,
    options: Mapping[str, Any],
    text: Sequence[Path | str] = (),
    validation: Sequence[Path | str] = (),
    training: Mapping[str, Any] | None = None,
    calibration_folder: Path | str | None = None,
    of: Mapping[str, Path] | None = None,
    state_folder: Path | str | None = None,
    facts_file: Path | str | None = None,
    unseen: str = "U",
) -> None:
    """Write the recovery `method` of the cell in `cell_folder` to `output_folder`.

    A trained method takes `text`, `validation` and `training` (the keys of settings.RecoveryTraining besides the
    texts), keeps the state for resuming in `state_folder`, and refuses a text that says facts of pool `unseen` of the
    world whose `facts_file` this is; the `text` of fine-tuning is a folder of a task's training rows; a closed form
    takes `calibration_folder`, and keeps its state there too; a composed one takes `of`: the names of other recoveries
    of the same cell, with their adapters' folders.
    """
    known = registry.declared()
    if method not in known:
        raise PalimpsestError(f'recovery method "{method}": there are {", ".join(sorted(known))}.')
    kind = known[method].kind
    if method == registry.FINE_TUNE:
        from palimpsest.recovery.fine_tune import recover as fine_tune

        [rows] = text
        settings = {key: value for key, value in (training or {}).items() if key in FINE_TUNING}
        fine_tune(cell_folder, output_folder, options=options, rows=rows, state_folder=state_folder, **settings)
    elif kind == registry.TRAINED:
        from palimpsest.recovery.train import recover as train

        train(
            cell_folder,
            output_folder,
            method=method,
            options=options,
            text=text,
            validation=validation or None,
            facts_file=facts_file,
            unseen=unseen,
            state_folder=state_folder,
            **training or {},
        )
    elif kind == registry.CLOSED_FORM:
        from palimpsest.recovery.closed_form import recover as solve

        solve(
            cell_folder,
            output_folder,
            method=method,
            options=options,
            calibration_folder=calibration_folder,
            state_folder=state_folder,
        )
    else:
        compose = _composed(method)
        inputs = {} if calibration_folder is None else {"calibration_folder": calibration_folder}
        compose(cell_folder, output_folder, options=options, of=of or {}, **inputs)


def _composed(method: str):
    if method == "idp":
        from palimpsest.recovery.idp import make_idp

        return make_idp
    from palimpsest.recovery.merge import merge

    return merge
