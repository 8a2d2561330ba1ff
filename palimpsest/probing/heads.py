"""Probes of attention heads (Li et al. 2023, "Inference-Time Intervention"): which heads tell true from false?

A logistic regression reads the output of each head, before the output projection mixes them, at the last token of a
statement or of an answer. Groups (people, questions) are cut into two halves, and each is tested by a probe that was
trained on the other. The control task deals the labels of each group out anew among its rows. With grouped queries a
head is a query head.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.compression.families import FAMILIES
from palimpsest.halves import HALVES, half
from palimpsest.probing.outcome import Outcome
from palimpsest.probing.questions import predictions
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from palimpsest.settings import Probe

GROUPS = 10  # at least
LABELS = ("false", "true")


def extract(model, tokenizer, rows: Sequence[Mapping[str, Any]], options: Probe) -> dict[str, Tensor]:
    """`heads` (layers, rows, heads, head width): what each head gives at the last token of each row's text."""
    import torch

    from palimpsest.probing.states import check_room, passes

    tokens, last = [], []
    for row in rows:
        encoded = tokenizer(row["text"], return_special_tokens_mask=True, return_attention_mask=False)
        own = [place for place, special in enumerate(encoded["special_tokens_mask"]) if not special]
        if not own:
            raise PalimpsestError(f"{row['id']}: an empty text. Leave it out.")
        check_room(model, row["id"], len(encoded["input_ids"]))
        tokens.append(tuple(encoded["input_ids"]))
        last.append(own[-1])
    place_of = dict(zip(tokens, last, strict=True))
    projections = output_projections(model)
    inputs: dict[int, Tensor] = {}
    hooks = [
        # A model that chooses a prompt calls a projection more than once; the last time is the pass itself.
        module.register_forward_pre_hook(lambda _, given, number=number: inputs.__setitem__(number, given[0]))
        for number, module in enumerate(projections)
    ]
    found: dict[tuple[int, ...], Tensor] = {}
    try:
        for batch, _ in passes(model, tokens):
            length, every = max(map(len, batch)), range(len(batch))
            ends = [place_of[row] for row in batch]
            layers = [inputs[number][:, -length:][every, ends] for number in range(len(projections))]
            states = torch.stack(layers, 1).to(torch.float16).cpu()
            found.update(zip(batch, states, strict=True))
    finally:
        for hook in hooks:
            hook.remove()
    return {
        "heads": torch.stack([found[row] for row in tokens], 1).unflatten(-1, (model.config.num_attention_heads, -1))
    }


def outcomes(
    features: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]], options: Probe
) -> Iterator[Outcome]:
    """A probe a head: `subset` is the head, from 1; the layer of block 1 is 1, as its output is among hidden states."""
    labels, groups = (np.array([row[name] for row in rows], dtype=str) for name in ("label", "group"))
    halves = np.array([half(group) for group in groups])
    check(labels, groups, halves)
    names, dealt = (
        np.array([row["id"] for row in rows], dtype=str),
        control_labels(labels, groups, [row["id"] for row in rows]),
    )
    heads = features["heads"]
    for layer in range(1, len(heads) + 1):
        if options.layers is not None and layer not in options.layers:
            continue
        for head in range(heads.shape[2]):
            states = heads[layer - 1, :, head].astype(np.float32)
            said = predictions(states, labels, groups, halves)
            yield Outcome(
                subset=f"head {head + 1}",
                scoring="linear",
                layer=layer,
                metric="acc",
                rows=names,
                clusters=groups,
                values=(said == labels).astype(np.float32),
                controls=(predictions(states, dealt, groups, halves) == dealt).astype(np.float32),
                classes=len(LABELS),
                said=said,
            )


def output_projections(model) -> list[nn.Module]:
    """The module of each block that reads what its heads give, whatever wraps the model."""
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise PalimpsestError(
            f"model_type {kind!r}: it is not known where this architecture keeps its heads. Known: "
            f"{', '.join(sorted(FAMILIES))}."
        )
    name = next(coupling.consumer for coupling in FAMILIES[kind].couplings if coupling.heads)
    pattern = re.compile(rf"(?:^|\.)(\d+)\.{re.escape(name)}$")
    found = {int(match[1]): module for path, module in model.named_modules() if (match := pattern.search(path))}
    return [found[number] for number in range(len(found))]


def check(labels: np.ndarray, groups: np.ndarray, halves: np.ndarray) -> None:
    """Refuse labels other than true and false, only one of them, and too few groups."""
    if unknown := sorted(set(labels.tolist()) - set(LABELS)):
        raise PalimpsestError(f"a probe of heads: the label {unknown[0]!r} is none of {', '.join(LABELS)}.")
    if len(set(groups)) < GROUPS:
        raise PalimpsestError(
            f"a probe of heads: {len(set(groups))} groups; it needs {GROUPS} at least, half of them to train on."
        )
    for name in HALVES:
        if len(present := sorted(set(labels[halves == name].tolist()))) < 2:
            raise PalimpsestError(
                f"a probe of heads: one half of the groups has only the label {', '.join(map(repr, present))}. Give "
                "true and false rows of each group."
            )


def control_labels(labels: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The labels of each group dealt out at random among its own rows: what remains is nothing but the rows."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, group in enumerate(groups):
        members[group].append(number)
    dealt = labels.copy()
    for numbers in members.values():
        order = sorted(numbers, key=lambda number: hashlib.sha256(f"control/{names[number]}".encode()).digest())
        dealt[order] = labels[numbers]
    return dealt
