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
from dataclasses import dataclass

import torch
from torch import Tensor, nn
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


@dataclass(frozen=True)
class Layout:
    """Which channels of the residual stream hold what at the start, and the width of a head."""

    places: slice
    codes: slice
    words: slice
    head: int

    @classmethod
    def of(cls, width: int, heads: int) -> Layout:
        head, places = width // heads, 2 * (width // 8)
        codes = places + min(width // 4, head - 1)
        return cls(slice(0, places), slice(places, codes), slice(codes, width), head)

    @property
    def size(self) -> int:
        """Channels of words."""
        return self.words.stop - self.words.start

    @property
    def scale(self) -> float:
        """By which the first norm raises words and places: the codes are empty still."""
        return math.sqrt(self.words.stop / (self.size + self.places.stop))

    @property
    def frequencies(self) -> Tensor:
        """Radians a token, a sine and a cosine of the places each."""
        return torch.logspace(math.log10(SLOWEST), math.log10(FASTEST), self.places.stop // 2)

    def rows(self, number: int, count: int | None = None) -> slice:
        """The channels of a head, or the first of them."""
        return slice(number * self.head, number * self.head + (self.head if count is None else count))


@torch.no_grad()
def prepare_to_look(model: BertForMaskedLM, names: Tensor, values: Tensor) -> None:
    """Set embeddings, first two attention blocks and head of a new `model`; `names`, `values`: token ids.

    Draws from torch's global generator. Models of one block, or of few or narrow heads, keep random attention.
    """
    config = model.config
    layout = Layout.of(config.hidden_size, config.num_attention_heads)
    of_names, of_values = _embed(model, layout, names, values)
    model.cls.predictions.transform.dense.weight.copy_(torch.eye(config.hidden_size))
    model.cls.predictions.transform.dense.bias.fill_(LINEAR)
    if config.num_hidden_layers < 2 or config.num_attention_heads < 4 or layout.head < 4:
        return
    first, second = (block.attention for block in model.bert.encoder.layer[:2])
    _note_the_name(first, layout, of_names)
    for number, distance in ((1, 1), (2, -1)):
        _see_a_neighbour(first, layout, number, distance)
    parts = torch.arange(layout.words.start, layout.words.stop).split(layout.head)
    for number, channels in enumerate(parts[: config.num_attention_heads // 2]):
        _copy(second, layout, number, channels, of_values)


def _embed(model: BertForMaskedLM, layout: Layout, names: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Set the embeddings; the directions that names share, and values."""
    embeddings, size = model.bert.embeddings, layout.size
    table, places = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
    table.zero_()
    table[:, layout.words].normal_(0, SPREAD)
    directions = torch.linalg.qr(torch.randn(size, 2))[0].T
    for ids, direction in zip((names, values), directions, strict=True):
        shared = math.sqrt(CLASS_SHARE * size) * SPREAD * direction
        table[ids, layout.words] = math.sqrt(1 - CLASS_SHARE) * table[ids, layout.words] + shared
    table[model.config.pad_token_id] = 0
    angles = torch.arange(len(places))[:, None] * layout.frequencies
    places.zero_()
    places[:, layout.places] = math.sqrt(2) * SPREAD * torch.stack([angles.cos(), angles.sin()], 2).flatten(1)
    embeddings.token_type_embeddings.weight.zero_()
    return directions[0], directions[1]


def _note_the_name(attention: nn.Module, layout: Layout, of_names: Tensor) -> None:
    """Head 0 looks a few words back for a name, and writes a code of it."""
    codes, size = layout.codes, layout.size
    half = len(layout.frequencies) // 2 or 1  # slow enough not to turn within a sentence
    _look(attention, layout, 0, BACK, _spread(half, (layout.head - 1) // 2), NEAR)
    _prefer(attention, layout, 0, of_names, NAME)
    read = torch.linalg.qr(torch.randn(size, codes.stop - codes.start))[0].T
    read -= (read @ of_names)[:, None] * of_names  # which name, not that it is one
    attention.self.value.weight[layout.rows(0)] = 0
    attention.self.value.weight[layout.rows(0, len(read)), layout.words] = read
    attention.output.dense.weight[:, layout.rows(0)] = 0
    attention.output.dense.weight[codes, layout.rows(0, len(read))] = WRITE * torch.eye(len(read))


def _see_a_neighbour(attention: nn.Module, layout: Layout, number: int, distance: int) -> None:
    """A head looks at the word that is `distance` before, and writes it turned, to be told from the word itself."""
    count = min(layout.size, layout.head)
    _look(attention, layout, number, distance, _spread(len(layout.frequencies), layout.head // 2), 3 * NEAR)
    read, written = (torch.linalg.qr(torch.randn(layout.size, count))[0] for _ in range(2))
    attention.self.value.weight[layout.rows(number)] = 0
    attention.self.value.weight[layout.rows(number, count), layout.words] = read.T
    attention.output.dense.weight[layout.words, layout.rows(number, count)] = LOOK * written


def _copy(attention: nn.Module, layout: Layout, number: int, channels: Tensor, of_values: Tensor) -> None:
    """A head looks where the code is the same, at values above all, and copies some of the words' channels."""
    codes = layout.codes
    for matrix in (attention.self.query, attention.self.key):
        matrix.weight[layout.rows(number)] = 0
        same = MATCH * torch.eye(codes.stop - codes.start)
        matrix.weight[layout.rows(number, len(same)), codes] = same
    _prefer(attention, layout, number, of_values, VALUE)
    rows, identity = layout.rows(number, len(channels)), torch.eye(len(channels))
    attention.self.value.weight[layout.rows(number)] = 0
    attention.self.value.weight[rows, channels] = identity
    attention.output.dense.weight[:, layout.rows(number)] = 0
    attention.output.dense.weight[channels, rows] = COPY * identity


def _look(attention: nn.Module, layout: Layout, number: int, distance: int, chosen: Tensor, logits: float) -> None:
    """Make a head prefer what is `distance` words before, by some of the frequencies: Σ cos f·(i - distance - j)."""
    size = math.sqrt(logits * math.sqrt(layout.head) / (2 * len(chosen))) / layout.scale
    query, key = (matrix.weight[layout.rows(number)] for matrix in (attention.self.query, attention.self.key))
    query.zero_(), key.zero_()
    for line, index in enumerate(chosen.tolist()):
        cosine, sine = (size * turn(layout.frequencies[index] * distance) for turn in (torch.cos, torch.sin))
        pair, channels = slice(2 * line, 2 * line + 2), slice(2 * index, 2 * index + 2)
        query[pair, channels] = torch.stack([torch.stack([cosine, sine]), torch.stack([-sine, cosine])])
        key[pair, channels] = size * torch.eye(2)


def _prefer(attention: nn.Module, layout: Layout, number: int, direction: Tensor, logits: float) -> None:
    """Make a head prefer a class of words, by its last channel."""
    channel = layout.rows(number).stop - 1
    attention.self.query.weight[channel] = 0
    attention.self.query.bias[channel] = QUERY
    length = layout.scale * math.sqrt(CLASS_SHARE * layout.size)  # of what the words of the class share
    attention.self.key.weight[channel] = 0
    attention.self.key.weight[channel, layout.words] = direction * (logits * math.sqrt(layout.head) / QUERY / length)


def _spread(among: int, count: int) -> Tensor:
    """At most `count` numbers below `among`, spread evenly."""
    return torch.linspace(0, among - 1, min(among, count)).round().long()
