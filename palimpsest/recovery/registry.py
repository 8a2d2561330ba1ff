"""The recovery methods and their options, readable without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from palimpsest.compression.ranges import RANGES, Range

TRAINED = "trained"  # on text: the study says on which, for how long
CLOSED_FORM = "closed form"  # from the dense weights, most on the inputs of the layers
COMPOSED = "composed"  # of other recoveries of the same cell: the study says of which
NO, TAKEN, NEEDED = "no", "taken", "needed"  # whether a method looks at the inputs of layers: at a calibration
FINE_TUNE = "fine-tune"  # is trained on the rows of a task, not on text
FAMILIES = ("pruning", "quantization", "low rank")

COUNT, POSITIVE = RANGES["Count"], RANGES["Positive"]
INPUTS = Range("dense or compressed", lambda value: value in ("dense", "compressed"))
MOMENTS = Range("full or diagonal", lambda value: value in ("full", "diagonal"))
KEEP = Range("auto, mask, grid, rank or none", lambda value: value in ("auto", "mask", "grid", "rank", "none"))


@dataclass(frozen=True)
class Declaration:
    """What the checks of a study and the reports need to know of a recovery method.

    `options` are its options with their defaults, `ranges` what is allowed for those that are not free. `kind` says
    what it is made from; `made_of` are the methods that a composed one takes. `consults_dense` says whether it reads
    the dense weights: what such a method brings back says nothing on whether the knowledge was still in the compressed
    weights. `calibration` says whether it looks at one, `mends` which families of compression it is for ("": the dense
    model).
    """

    name: str
    summary: str
    version: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = TRAINED
    made_of: tuple[str, ...] = ()
    consults_dense: bool = False
    ranges: dict[str, Range] = field(default_factory=dict)
    calibration: str = NO
    mends: tuple[str, ...] = (*FAMILIES, "")


def _layer(value: Any) -> bool:
    return value == "mean" or (type(value) is int and value >= 1)


def _heads(value: Any) -> bool:
    return value == "all" or (isinstance(value, list) and bool(value) and all(type(head) is int for head in value))


def _prompt(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 1)


def _one_of(*values: str) -> tuple[str, Range]:
    """The first is the default."""
    return values[0], Range(f"one of {', '.join(values)}", lambda value: value in values)


_DYNAMIC = {  # option -> (default, what is allowed); each is a choice that the paper leaves open
    "layer": (1, Range('a layer, 1 for the first, or "mean" over all', _layer, kinds=(str,))),
    "heads": ("all", Range('"all" or a list of heads, 1 for the first', _heads, kinds=(list,))),
    "softmax": _one_of("prompts", "prompts and input"),
    "divide_by_length": (True, None),
    "positions": _one_of("shared", "own"),
    "block_mask": (True, None),
    "choose": _one_of("maximum attention", "minimum attention", "random", "always", "mean of all"),
    "prompt": (None, Range("the number of a prompt, 1 for the first of `of`", _prompt, 1)),
    "shuffle": (False, None),
    "seed": (0, RANGES["NotNegative"]),
}

# `budget`: so many parameters at most, in the place of a rank or a number of tokens.
_BUDGET = Range("a number of parameters", lambda value: type(value) is int and value >= 1, example=8192)
_DROPOUT = Range("from 0 to below 1", lambda value: 0 <= value < 1)
_SIZES = {"rank": COUNT, "tokens": COUNT, "budget": _BUDGET, "alpha": POSITIVE, "dropout": _DROPOUT}
_LOW_RANK = {"rank": 4, "alpha": 8, "modules": ["q_proj", "v_proj"], "dropout": 0.0, "budget": None}
_SOFT = {"tokens": 32, "budget": None}

_DECLARED = (
    Declaration(
        "lora",
        summary="Low-rank updates beside the frozen compressed layers, trained on text (Hu et al., arXiv:2106.09685).",
        version="1",
        options=_LOW_RANK,
        ranges=_SIZES,
    ),
    Declaration(
        "qlora",
        summary="LoRA beside layers that stay quantized while it is trained (Dettmers et al., arXiv:2305.14314).",
        version="1",
        options=_LOW_RANK,
        ranges=_SIZES,
        mends=("quantization",),
    ),
    Declaration(
        "dora",
        summary="LoRA for the direction of each output's weights, and their length by itself (Liu et al., "
        "arXiv:2402.09353).",
        version="1",
        options=_LOW_RANK,
        ranges=_SIZES,
    ),
    Declaration(
        "prompt",
        summary="Trained vectors before the embedded input of the frozen model (Lester et al., arXiv:2104.08691).",
        version="1",
        options=_SOFT,
        ranges=_SIZES,
    ),
    Declaration(
        "p-tuning",
        summary="A prompt that a small network makes while it is trained (Liu et al., arXiv:2103.10385).",
        version="1",
        options=_SOFT,
        ranges=_SIZES,
    ),
    Declaration(
        "prefix",
        summary="Trained keys and values before those of the input, in every layer (Li & Liang, arXiv:2101.00190).",
        version="1",
        options={"tokens": 8, "budget": None},
        ranges=_SIZES,
    ),
    Declaration(
        "distill",
        summary="LoRA trained towards the dense model's distribution of the next token (Hinton et al., "
        "arXiv:1503.02531).",
        version="1",
        options=_LOW_RANK | {"temperature": 1.0},
        ranges=_SIZES | {"temperature": POSITIVE},
        consults_dense=True,
    ),
    Declaration(
        FINE_TUNE,
        summary="An encoder's kept weights, norms, biases and head trained on a task's rows: values on their mask, "
        "factors at their rank, codes as they are with other scales (Devlin et al., arXiv:1810.04805).",
        version="1",
        options={"embeddings": False, "scales": True},
    ),
    Declaration(
        "eora",
        summary="The compression error's best low-rank part on the layer's inputs (Liu et al., arXiv:2410.21271).",
        version="1",
        options={"rank": 4, "inputs": "dense", "damping": 0.01},
        ranges={"rank": COUNT, "inputs": INPUTS, "damping": POSITIVE},
        kind=CLOSED_FORM,
        calibration=NEEDED,
        mends=FAMILIES,
        consults_dense=True,
    ),
    Declaration(
        "qera",
        summary="The same optimum by the root of the inputs' second moments, or with their diagonal only (Zhang et "
        "al., arXiv:2410.06040).",
        version="1",
        options={"rank": 4, "moments": "full", "inputs": "dense", "damping": 0.01},
        ranges={"rank": COUNT, "moments": MOMENTS, "inputs": INPUTS, "damping": POSITIVE},
        kind=CLOSED_FORM,
        calibration=NEEDED,
        mends=FAMILIES,
        consults_dense=True,
    ),
    Declaration(
        "lqer",
        summary="The error's low-rank part with input channels weighted by their mean size (Zhang et al., "
        "arXiv:2402.02446).",
        version="1",
        options={"rank": 4, "inputs": "dense", "damping": 0.01},
        ranges={"rank": COUNT, "inputs": INPUTS, "damping": POSITIVE},
        kind=CLOSED_FORM,
        calibration=NEEDED,
        mends=FAMILIES,
        consults_dense=True,
    ),
    Declaration(
        "loftq",
        summary="Integers and a low-rank part fitted to the dense weights in turn (Li et al., arXiv:2310.08659).",
        version="1",
        options={"rank": 4, "iterations": 5},
        ranges={"rank": COUNT, "iterations": COUNT},
        kind=CLOSED_FORM,
        mends=("quantization",),
        consults_dense=True,
    ),
    Declaration(
        "svd-llm-update",
        summary="The two factors of a low-rank cell, by least squares one after the other (Wang et al., "
        "arXiv:2403.07378).",
        version="1",
        options={"inputs": "compressed", "damping": 0.01},
        ranges={"inputs": INPUTS, "damping": POSITIVE},
        kind=CLOSED_FORM,
        calibration=NEEDED,
        mends=("low rank",),
        consults_dense=True,
    ),
    Declaration(
        "merge",
        summary="An adapter put into the weights, in the form that compression gave them: mask, grid or rank.",
        version="1",
        options={"keep": "auto"},
        ranges={"keep": KEEP},
        kind=COMPOSED,
        calibration=TAKEN,
        made_of=("lora", "qlora", "dora", "distill", "eora", "qera", "lqer", "loftq"),
    ),
    Declaration(
        "idp",
        summary="Of several soft prompts the one that an input attends to most, chosen anew for each input (Hoang et "
        "al., arXiv:2310.00867).",
        version="1",
        options={name: default for name, (default, _) in _DYNAMIC.items()},
        kind=COMPOSED,
        made_of=("prompt", "p-tuning"),
        ranges={name: allowed for name, (_, allowed) in _DYNAMIC.items() if allowed},
    ),
)


def declared() -> dict[str, Declaration]:
    """name -> declaration, in the order of the documentation."""
    return {declaration.name: declaration for declaration in _DECLARED}
