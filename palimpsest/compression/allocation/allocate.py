"""From a dense checkpoint to an allocation's folder: what is checked first, the decision, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest import levels
from palimpsest.compression import registry as compression
from palimpsest.compression.allocation import DENSE, FORMAT, RECORD, registry
from palimpsest.compression.allocation.case import Case
from palimpsest.compression.allocation.memory import remembering
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.provenance import PalimpsestError, atomic_folder, write_json
from palimpsest.versions import code


def allocate(
    model_folder: Path | str,
    output_folder: Path | str,
    *,
    method: str,
    level: str,
    name: str | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    calibration_folder: Path | str | None = None,
    measured_with: str | None = None,
    state_folder: Path | str | None = None,
) -> None:
    """Decide on the level of each matrix of the checkpoint in `model_folder`, and write it to `output_folder`.

    method: the allocation; name: what the study calls it. level: that of the whole. measured_with: the compression
    method by which matrices are measured; None takes the default for this kind of level. state_folder: where a search
    that is killed leaves what it has computed. Raises PalimpsestError on anything that a person must put right.
    """
    declaration = registry.declaration(method)
    complete = registry.complete_options(method, options or {})
    asked = levels.parse(level)
    measure = registry.measure_for(asked, measured_with) if declaration.measures else None
    _check(declaration, asked, measure, calibration_folder)
    checkpoint, rows, lengths, calibration = Checkpoint(model_folder), None, None, None
    if declaration.calibrated:
        from palimpsest.calibration import read_rows

        rows, lengths, calibration = read_rows(calibration_folder)
    record = {
        "name": name or method,
        "method": method,
        "method_version": declaration.version,
        "options": complete,
        "level": asked.text,
        "seed": seed,
        "calibration": calibration,
        "measured_with": measure,
        "base": checkpoint.digest,
    }
    version = measure and compression.declaration(measure).version
    whose = record | {"name": None, "code": code("allocate"), "measured_with_version": version}
    with remembering(None if state_folder is None else Path(state_folder), whose) as memory:
        case = Case(checkpoint, asked, rows=rows, lengths=lengths, measured_with=measure, memory=memory)
        arguments = complete | ({"seed": seed} if declaration.seeded else {})
        found = registry.function(method)(case, **arguments)
        texts = {matrix.name: found[matrix.name].text if matrix.name in found else DENSE for matrix in case.matrices}
        said = {"format": FORMAT, "levels": texts, "measured": case.measured}
        with atomic_folder(output_folder) as temporary:
            write_json(temporary / RECORD, record | said)


def _check(
    declaration: registry.Declaration, level: levels.Level, measure: str | None, calibration: Path | str | None
) -> None:
    if declaration.calibrated and calibration is None:
        raise PalimpsestError(f"{declaration.name} looks at the model's answers to some text: give it a calibration.")
    if declaration.measures and measure is None:
        raise PalimpsestError(
            f"{declaration.name}: name the compression method by which matrices are measured at {level.text}."
        )
    if measure is not None and registry.measured_level(level, measure) is None:
        raise PalimpsestError(
            f"{declaration.name}: {measure} has no level {level.text!r}: measure with another method."
        )
