"""The study as pydantic models. From them come config.schema.json and docs/config.md:

    python -m palimpsest.settings --write

`load` checks a study whole before any job starts, and reports every problem at once (checks/).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.settings.base import NAME, Settings, as_level, slug
from palimpsest.settings.compression import Allocation, Calibration, Compression
from palimpsest.settings.evaluation import Measurement, Similarity, TaskData
from palimpsest.settings.models import (
    ATLAS,
    PLANTED,
    Architecture,
    DisplacedModel,
    FineTunedModel,
    FineTuning,
    FolderModel,
    ForkedModel,
    HubModel,
    LockedModel,
    OutlierModel,
    PackageModel,
    Training,
    WorldModel,
)
from palimpsest.settings.probing import Probe
from palimpsest.settings.recovery import SWAPPED, SWAPPED_TEXT, Recovery, RecoveryTraining
from palimpsest.settings.representation import Representation, Sensitivity
from palimpsest.settings.study import Study
from palimpsest.settings.texts import RANDOM, TEXTS, WITH_FACTS, WITHOUT_FACTS, SampledText, TaskText, TextFile
from palimpsest.settings.world import DOCUMENTS, World

__all__ = [
    "ATLAS",
    "DOCUMENTS",
    "NAME",
    "PLANTED",
    "RANDOM",
    "SWAPPED",
    "SWAPPED_TEXT",
    "TEXTS",
    "WITHOUT_FACTS",
    "WITH_FACTS",
    "Allocation",
    "Architecture",
    "Calibration",
    "Compression",
    "DisplacedModel",
    "FineTunedModel",
    "FineTuning",
    "FolderModel",
    "ForkedModel",
    "HubModel",
    "LockedModel",
    "Measurement",
    "OutlierModel",
    "PackageModel",
    "Probe",
    "Recovery",
    "RecoveryTraining",
    "Representation",
    "SampledText",
    "Sensitivity",
    "Settings",
    "Similarity",
    "Study",
    "TaskData",
    "TaskText",
    "TextFile",
    "Training",
    "World",
    "WorldModel",
    "as_level",
    "load",
    "read",
    "slug",
]


def load(mapping: Mapping[str, Any] | None, file: str | Path) -> Study:
    """Check a study that was read from `file`; raises StudyError, a PalimpsestError that lists all problems."""
    from palimpsest import checks

    return checks.checked(mapping, str(file))


def read(file: str | Path) -> Study:
    """Read and check a study file."""
    from palimpsest import checks

    return checks.checked(checks.read_yaml(file), str(file))
