"""An encoder reads its input in one pass and generates nothing."""

from __future__ import annotations

import math

import torch
from torch import nn

from palimpsest.measurement.speed import clock_of


class Encoder:
    """An encoder as measurement runs it, in the place of the engine that decoders are evaluated with."""

    virtual_tokens = 0

    def __init__(self, model: nn.Module) -> None:
        self.model, self.device = model.eval(), next(model.parameters()).device

    @torch.inference_mode()
    def latency(self, length: int) -> tuple[float, float]:
        """Milliseconds of a pass over so many tokens; of a generated token there is no time (not a number)."""
        vocabulary, clock = self.model.config.vocab_size, clock_of(self.device)
        tokens = torch.tensor([[number % vocabulary for number in range(length)]], device=self.device)
        mask = torch.ones_like(tokens)
        started = clock()
        self.model(input_ids=tokens, attention_mask=mask)[0].sum().item()  # an accelerator has then done its work
        return 1e3 * (clock() - started), math.nan
