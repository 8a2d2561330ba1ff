"""Initial weights of a small reader: attention that can bind a name to its value from the first step.

To answer a question about one of several people, a decoder must carry each name to the place of its value, find the
place whose name is the asked one, and copy what stands there. From random weights this circuit does not form within
the few million tokens that a small world has (docs/lab-diary.md: what was tried). So its parts start in place, in the
manner of mimetic initialization (Trockman & Kolter 2023, arXiv:2305.09828), and training does the rest:

* names share one direction of the embedding, as words of one class come to do in any trained model;
* in the first block two heads look at the latest name (a bias that rotary positions turn into recency, and a key along
  the names' direction) and write a code of it into a subspace of their own;
* in the second block queries and keys both read that code, in the channels that rotary positions hardly turn, and
  values are copied as they are.

The result is a plain Llama with attention biases; every weight is trained afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

SPREAD = 0.08  # standard deviation of the embedding
CLASS_SHARE = 0.5  # of a name's squared norm, along the direction that names share
RECENCY = 4.0  # how much the latest positions are preferred, in logits
NAME = 10.0  # how much names are preferred, in logits
QUERY = 4.0  # bias of the query channel that looks for names
WRITE = 0.18  # of the first block: its code stays as large as the embedding, whose norm RMSNorm raises tenfold
MATCH = 1.2  # of queries and keys of the second block
COPY = 0.3  # of its values
WINDOW = (0.08, 0.4)  # rotary frequencies (radians a token) that make a soft window of some ten tokens
SLOW = 0.0101  # rotary frequencies up to this turn by less than a radian over a document


@torch.no_grad()
def prepare_to_read(model: LlamaForCausalLM, names: Tensor) -> None:
    """Set embedding and first two attention blocks of a new `model` (with attention biases); `names`: token ids.

    Draws from torch's global generator. A model of one block is left with its embedding only.
    """
    config = model.config
    width, heads = config.hidden_size, config.num_attention_heads
    head = width // heads
    half = head // 2
    frequency = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    embedding = model.model.embed_tokens.weight
    embedding.normal_(0, SPREAD)
    embedding[config.pad_token_id] = 0
    direction = _orthonormal(width, 1)[:, 0]
    shared = math.sqrt(CLASS_SHARE * width) * SPREAD * direction
    embedding[names] = math.sqrt(1 - CLASS_SHARE) * embedding[names] + shared
    if config.num_hidden_layers < 2:
        return
    first, second = (layer.self_attn for layer in model.model.layers[:2])

    window = [i for i in range(half) if WINDOW[0] <= frequency[i] <= WINDOW[1]]
    codes, basis = [], _orthonormal(width, width)
    for number in range(min(2, heads)):
        rows = slice(number * head, (number + 1) * head)
        for channel in window:
            bias = math.sqrt(RECENCY / len(window) * math.sqrt(head))
            first.q_proj.bias[rows][channel] = bias
            first.k_proj.bias[rows][channel] = bias
        slowest = half - 1
        first.q_proj.bias[rows][slowest] = QUERY
        first.k_proj.weight[rows][slowest] += (
            direction * NAME * math.sqrt(head) / QUERY / math.sqrt(CLASS_SHARE * width)
        )
        read = _orthonormal(width, head).T
        first.v_proj.weight[rows] = read - (read @ direction)[:, None] * direction  # which name, not that it is one
        first.o_proj.weight[:, rows] = basis[:, rows] * WRITE
        codes.append(basis[:, rows])

    code = torch.cat(codes, dim=1).T
    still = [i for i in range(half) if frequency[i] <= SLOW]
    still += [channel + half for channel in still]
    copied = _orthonormal(width, width)
    for number in range(heads):
        rows = slice(number * head, (number + 1) * head)
        channels = [number * head + channel for channel in still]
        part = code[[(number * len(still) + place) % len(code) for place in range(len(still))]]
        second.q_proj.weight[channels] = MATCH * part
        second.k_proj.weight[channels] = MATCH * part
        second.v_proj.weight[rows] = copied[rows]
        second.o_proj.weight[:, rows] = copied[rows].T * COPY


def _orthonormal(rows: int, columns: int) -> Tensor:
    """(rows, columns) with orthonormal columns."""
    return torch.linalg.qr(torch.randn(rows, columns))[0]
