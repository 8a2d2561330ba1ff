"""Initial weights of a small reader that looks both ways; initialization.py says why, and does it for decoders.

A BERT has no rotary positions, and its norms come after each sum. So its residual stream starts in three parts, which
training mixes: words, places, and a code of the person that is spoken of.

* Place embeddings are sines and cosines of the position (Vaswani et al., arXiv:1706.03762), so that a head can look at
  a given distance: in the first block one looks a few words back for a name and writes a code of it, and two look at
  the word before and at the word after. Names share one direction of the embedding, and values another.
* In the second block two heads look where the same person is spoken of, at values above all, and copy what they see.
* The head for masked words starts as the identity.

The result is a plain BERT; every weight is trained afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import BertForMaskedLM

SPREAD = 0.08  # standard deviation of the embeddings
CLASS_SHARE = 0.5  # of a name's or value's squared norm, along the direction of its class
SLOWEST, FASTEST = 0.06, 2.5  # radians a token
BACK = 3  # words that a value most often comes after its name
NEAR = 8.0  # how much places at the right distance are preferred, in logits
NAME = 8.0  # how much names are preferred, in logits
VALUE = 5.0  # how much values are preferred by the copying heads, in logits
QUERY = 4.0  # bias of the query channel that looks for a class
WRITE = 1.4  # of the code: as large as a word's embedding after the norm
MATCH = 1.1  # of queries and keys that compare codes
COPY = 2.0  # of what the copying heads write
LINEAR = 2.0  # bias of the head's first layer: from here on GELU is nearly linear, and the norm takes it away again
LOOK = 0.3  # of what the neighbours' heads write


@torch.no_grad()
def prepare_to_look(model: BertForMaskedLM, names: Tensor, values: Tensor) -> None:
    """Set embeddings, first two attention blocks and head of a new `model`; `names`, `values`: token ids.

    Draws from torch's global generator. Models of one block, or of fewer than four heads, keep random attention.
    """
    config = model.config
    width, heads = config.hidden_size, config.num_attention_heads
    head = width // heads
    count = max(1, width // 8)  # frequencies, a sine and a cosine each
    places, codes = slice(0, 2 * count), slice(2 * count, 2 * count + min(width // 4, head - 1))
    words = slice(codes.stop, width)
    embeddings, size = model.bert.embeddings, width - codes.stop

    table = embeddings.word_embeddings.weight
    table.zero_()
    table[:, words].normal_(0, SPREAD)
    of_names, of_values = torch.linalg.qr(torch.randn(size, 2))[0].T
    for ids, direction in ((names, of_names), (values, of_values)):
        shared = math.sqrt(CLASS_SHARE * size) * SPREAD * direction
        table[ids, words] = math.sqrt(1 - CLASS_SHARE) * table[ids, words] + shared
    frequencies = torch.logspace(math.log10(SLOWEST), math.log10(FASTEST), count)
    angles = torch.arange(config.max_position_embeddings)[:, None] * frequencies
    embeddings.position_embeddings.weight.zero_()
    embeddings.position_embeddings.weight[:, places] = (
        math.sqrt(2) * SPREAD * torch.stack([angles.cos(), angles.sin()], 2).flatten(1)
    )
    embeddings.token_type_embeddings.weight.zero_()
    table[config.pad_token_id] = 0
    model.cls.predictions.transform.dense.weight.copy_(torch.eye(width))
    model.cls.predictions.transform.dense.bias.fill_(LINEAR)
    if config.num_hidden_layers < 2 or heads < 4:
        return
    scale = math.sqrt(width / (width - codes.stop + codes.start))  # by which the first norm raises what is not empty
    first, second = (layer.attention for layer in model.bert.encoder.layer[:2])

    def rows(number: int) -> slice:
        return slice(number * head, (number + 1) * head)

    def look(number: int, distance: int, chosen: Tensor, logits: float) -> None:
        """Make a head of the first block prefer what is `distance` words before, by some of the frequencies."""
        size = math.sqrt(logits * math.sqrt(head) / (2 * len(chosen))) / scale
        query, key = first.self.query.weight[rows(number)], first.self.key.weight[rows(number)]
        query.zero_(), key.zero_()
        for line, index in enumerate(chosen.tolist()):
            cosine, sine = (size * f(frequencies[index] * distance) for f in (torch.cos, torch.sin))
            channels = [2 * index, 2 * index + 1]
            query[2 * line, channels] = torch.stack([cosine, sine])
            query[2 * line + 1, channels] = torch.stack([-sine, cosine])
            key[2 * line, 2 * index] = key[2 * line + 1, 2 * index + 1] = size

    def prefer(attention, number: int, direction: Tensor, logits: float) -> None:
        """Make a head prefer a class of words, by its last channel."""
        channel = rows(number).stop - 1
        attention.self.query.weight[channel] = 0
        attention.self.query.bias[channel] = QUERY
        attention.self.key.weight[channel] = 0
        attention.self.key.weight[channel, words] = direction * (
            logits * math.sqrt(head) / QUERY / (scale * math.sqrt(CLASS_SHARE * size))
        )

    slow = torch.arange(min(count // 2 or 1, (head - 1) // 2))
    look(0, BACK, slow, NEAR)
    prefer(first, 0, of_names, NAME)
    read = torch.linalg.qr(torch.randn(size, codes.stop - codes.start))[0].T
    first.self.value.weight[rows(0)] = 0
    first.output.dense.weight[:, rows(0)] = 0
    lines = torch.arange(codes.stop - codes.start)
    first.self.value.weight[lines, words] = (
        read - (read @ of_names)[:, None] * of_names
    )  # which name, not that it is one
    first.output.dense.weight[codes.start + lines, lines] = WRITE
    for number, distance in ((1, 1), (2, -1)):
        look(number, distance, torch.arange(min(count, head // 2)), 3 * NEAR)
        basis = torch.linalg.qr(torch.randn(size, min(size, head)))[0]
        first.self.value.weight[rows(number)] = 0
        first.self.value.weight[rows(number).start : rows(number).start + basis.shape[1], words] = basis.T
        turned = torch.linalg.qr(torch.randn(size, basis.shape[1]))[0]
        first.output.dense.weight[words, rows(number).start : rows(number).start + basis.shape[1]] = LOOK * turned

    for number, part in enumerate(torch.arange(codes.stop, width).split(head)[:2]):
        for matrix in (second.self.query, second.self.key):
            matrix.weight[rows(number)] = 0
            matrix.weight[number * head + lines, codes.start + lines] = MATCH
        prefer(second, number, of_values, VALUE)
        channels = number * head + torch.arange(len(part))
        second.self.value.weight[rows(number)] = 0
        second.self.value.weight[channels, part] = 1
        second.output.dense.weight[:, rows(number)] = 0
        second.output.dense.weight[part, channels] = COPY
