"""The recovery methods and their options, readable without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRAINED = "trained"  # on text: the study says on which, for how long
CLOSED_FORM = "closed form"  # from the inputs of the layers: the study says which calibration
COMPOSED = "composed"  # of other recoveries of the same cell: the study says of which


@dataclass(frozen=True)
class Declaration:
    """What the checks of a study and the reports need to know of a recovery method.

    `options` are its options with their defaults. `kind` says what it is made from; `made_of` are the methods that a
    composed one takes. `consults_dense` says whether it reads the dense weights: what such a method brings back says
    nothing on whether the knowledge was still in the compressed weights.
    """

    name: str
    summary: str
    version: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = TRAINED
    made_of: tuple[str, ...] = ()
    consults_dense: bool = False


_DECLARED = (
    Declaration(
        "lora",
        summary="Low-rank updates beside the frozen compressed layers, trained on text (Hu et al., arXiv:2106.09685).",
        version="1",
        options={"rank": 4, "alpha": 8, "modules": ["q_proj", "v_proj"], "dropout": 0.0},
    ),
    Declaration(
        "prompt",
        summary="Trained vectors before the embedded input of the frozen model (Lester et al., arXiv:2104.08691).",
        version="1",
        options={"tokens": 32},
    ),
)


def declared() -> dict[str, Declaration]:
    """name -> declaration, in the order of the documentation."""
    return {declaration.name: declaration for declaration in _DECLARED}
