"""The logit lens (nostalgebraist 2020): what a model would say if it stopped after a layer.

The final norm and the head, which were trained for the last layer, are applied to the state after every layer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from palimpsest.representation.batches import NOTHING, Batch
from palimpsest.representation.reading import Watched
from palimpsest.similarity.measures import means

Lens = Callable[[Tensor], Tensor]  # states (…, width) -> logits (…, vocabulary)
METRICS = ("lens_kl", "lens_top1", "lens_top1_dense", "lens_cross_entropy")


def lens_of(watched: Watched) -> Lens | None:
    """Final norm and head of a model, as one function; None where it has no head that predicts words."""
    model, family = watched.model, watched.family
    if family.causal:
        head = model.get_output_embeddings()
        # OPT-350m's blocks are wider than its embeddings, and Gemma 2 bounds its logits.
        narrow = getattr(getattr(model.base_model, "decoder", None), "project_out", None)
        cap = getattr(model.config, "final_logit_softcapping", None)
        parts = [watched.norm, narrow, head, (lambda x: torch.tanh(x / cap) * cap) if cap else None]
    else:
        parts = [getattr(model, "cls", None) or getattr(model, "lm_head", None)]
    parts = [part for part in parts if part is not None]
    if not parts or (family.causal and head is None):
        return None

    @torch.inference_mode()
    def lens(states: Tensor) -> Tensor:
        found = states.to(watched.model.dtype)
        for part in parts:
            found = part(found)
        return found.float()

    return lens


def divergence(p: Float[Tensor, "*more vocabulary"], q: Float[Tensor, "*more vocabulary"]) -> Float[Tensor, "*more"]:
    """KL(p || q) of two log-distributions, in nats."""
    return (p.exp() * (p - q)).sum(-1).clamp(min=0)


class Looking:
    """The lens over all layers of one model, text by text, beside what the dense model says at its last layer.

    Of the tokens that have a target:  lens_kl  KL(last layer || layer) in nats;  lens_top1, lens_top1_dense  whether
    the likeliest token is that of the model's own, the dense model's last layer;  lens_cross_entropy  of the target,
    in nats.
    """

    def __init__(self, lens: Lens, dense_lens: Lens) -> None:
        self.lens, self.dense_lens = lens, dense_lens
        self.of_texts: dict[int, Float[Tensor, "metrics layers"]] = {}

    def add(self, batch: Batch, states: Tensor, dense_states: Tensor) -> None:
        predicts = batch.targets != NOTHING
        texts, place = batch.text[predicts].unique(return_inverse=True)
        targets = batch.targets[predicts].to(states.device)
        last = self.lens(states[-1, predicts]).log_softmax(-1)
        tops = [last.argmax(-1), self.dense_lens(dense_states[-1, predicts]).argmax(-1)]
        sums = torch.zeros(len(texts), len(METRICS), len(states), dtype=torch.float64)
        for layer, of_layer in enumerate(states):
            found = self.lens(of_layer[predicts]).log_softmax(-1)
            top, entropy = found.argmax(-1), -found.gather(-1, targets[:, None])[:, 0]
            values = [divergence(last, found), *(top == other for other in tops), entropy]
            for metric, value in enumerate(values):
                sums[:, metric, layer].index_add_(0, place, value.double().cpu())
        sums /= place.bincount()[:, None, None]
        self.of_texts.update(zip(texts.tolist(), sums, strict=True))

    def statistics(self) -> dict[str, np.ndarray]:
        """metric -> (layers + 1, texts + 1), as in similarity/measures.py: each text counts the same."""
        found = means(torch.stack([self.of_texts[text] for text in sorted(self.of_texts)]).numpy())
        return dict(zip(METRICS, found, strict=True))
